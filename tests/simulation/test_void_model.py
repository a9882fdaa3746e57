"""Void and credit of one win, in every order (V1 to V6, PR-17, PR-18): both sides' own rules.

One spin wins one pool. The jackpot server is its own pure functions, the wallet the rules of its booking;
between them is a network that delays, repeats, reorders and loses: whatever was said once may arrive at any
time, any number of times. People hold, release and reject whenever the rules let them. Every state is
visited: in none is a coin lost or doubled, and when all is said and heard both sides agree.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from jackpot_outbox.answer_store import StoredWin
from jackpot_outbox.booking import is_hold_to_confirm, is_to_credit
from jackpot_outbox.rows import WinNotice
from jackpot_outbox.rows import WinState as NoticeState
from jackpot_server.domain.acknowledge import judge
from jackpot_server.domain.commands import Acknowledge, Outcome
from jackpot_server.domain.errors import Refused
from jackpot_server.domain.facts import HoldReason, Proof, Win, WinState
from jackpot_server.domain.hold import (
    hold,
    reject,
    release,
)
from jackpot_server.domain.void import void_win

log = logging.getLogger(__name__)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPIN = UUID(int=1)
ENTRY = "wallet:1"
AMOUNT = 100
# Enough for a hold, a release and a second hold after the win, its void and its payment.
MOST_EVENTS = 6

WON = Win(
    pool_key=1,
    pool_id="pool",
    tier="T",
    cycle=1,
    config_version=1,
    spin_id=SPIN,
    operator_id="demo",
    user_id="anna",
    wallet_id="wallet",
    game_id="slots",
    currency_code="COIN",
    amount_minor=AMOUNT,
    shadow=False,
    proof=Proof(),
    decide_time=NOW,
    state=WinState.PAYABLE,
    hold_reason=HoldReason.NONE,
    review_required=False,
    spin_voided=False,
    wallet_entry_id="",
    pay_time=None,
    event_sequence=1,
)


@dataclass(frozen=True, slots=True)
class World:
    """Both databases, and everything that was ever said between them.

    `told` has the win as it was after each event; the contribution is on its way until `is_recorded`.
    """

    # The jackpot server's database.
    is_recorded: bool = False
    is_void_known: bool = False
    told: tuple[Win, ...] = ()
    said: frozenset[Acknowledge] = frozenset()
    payments: int = 0
    # The wallet's database.
    is_voided: bool = False
    void_names_credit: bool = False
    heard: WinNotice | None = None
    acted_sequence: int = 0
    is_credited: bool = False
    # What the wallet has said, arrived or not.
    sent: frozenset[Acknowledge] = frozenset()

    @property
    def win(self) -> Win | None:
        return self.told[-1] if self.told else None


def tell(world: World, win: Win, *, pays: bool = False) -> World:
    """The win's next event."""
    numbered = replace(win, event_sequence=len(world.told) + 1)
    return replace(world, told=(*world.told, numbered), payments=world.payments + pays)


def arrivals(world: World) -> Iterator[World]:
    """What may reach the jackpot server."""
    if not world.is_recorded:
        recorded = replace(world, is_recorded=True)
        if world.is_void_known:
            yield recorded  # V1: answered VOIDED, no draw
        else:
            yield tell(recorded, WON)
            held = replace(WON, state=WinState.HELD, hold_reason=HoldReason.AMOUNT)
            yield tell(recorded, held)
    if world.is_voided and not world.is_void_known:
        known = replace(world, is_void_known=True)
        if world.win is None:
            yield known
        else:
            voided = void_win(world.win, world.void_names_credit, NOW)
            assert not voided.contradicts, "the wallet has credited what was rejected"
            yield known if voided.event is None else tell(known, voided.win, pays=voided.pays)
    for command in world.sent - world.said:
        assert world.win is not None
        verdict = judge(world.win, world.said, command, NOW)
        assert verdict.refused is None, f"{verdict.refused} for {command} in {world}"
        taken = replace(world, said=world.said | {command})
        yield taken if verdict.event is None else tell(taken, verdict.win, pays=verdict.pays)


def decisions(world: World) -> Iterator[World]:
    """What people may do with the win."""
    if world.win is None or len(world.told) >= MOST_EVENTS:
        return
    for changed in (hold(world.win), release(world.win), reject(world.win, world.said)):
        if not isinstance(changed, Refused) and changed.event is not None:
            yield tell(world, changed.win)


def wallet_moves(world: World) -> Iterator[World]:
    """What the wallet may do: hear any event, act on it in the same transaction; take the bet back."""
    for win in world.told:
        yield from book(world, win)
    if not world.is_voided:
        yield replace(world, is_voided=True, void_names_credit=world.is_credited)


def book(world: World, win: Win) -> Iterator[World]:
    notice = WinNotice(
        "pools/pool/wins/1", SPIN, "demo", "anna", "wallet", "pools/pool", "T", "COIN", AMOUNT,
        NoticeState(win.state), win.spin_voided, win.event_sequence,
    )  # fmt: skip
    newest = (
        notice if world.heard is None or notice.event_sequence > world.heard.event_sequence else world.heard
    )
    heard = replace(world, heard=newest)
    stored = StoredWin(newest, world.acted_sequence, ENTRY if world.is_credited else None, world.is_voided)
    if is_to_credit(stored):
        yield act(heard, Outcome.CREDITED)
        yield act(heard, Outcome.FAILED)
    elif is_hold_to_confirm(stored):
        yield act(heard, Outcome.HOLD_CONFIRMED)
    else:
        yield heard


def act(world: World, outcome: Outcome) -> World:
    assert world.heard is not None
    is_credit = outcome is Outcome.CREDITED
    sequence = world.heard.event_sequence
    said = Acknowledge(
        "pool", SPIN, outcome, ENTRY if is_credit else "", AMOUNT if is_credit else None,
        "COIN" if is_credit else "", sequence,
    )  # fmt: skip
    return replace(
        world,
        acted_sequence=sequence,
        is_credited=world.is_credited or is_credit,
        sent=world.sent | {said},
    )


def wrong_now(world: World) -> str | None:
    """What may be true in no state, however early."""
    if world.is_credited and world.win is not None and world.win.state is WinState.REJECTED:
        return "credited and rejected"
    if world.payments > 1:
        return "paid twice in the books"
    if world.payments and not world.is_credited:
        return "paid in the books, not in the wallet"
    return None


def wrong_at_rest(world: World) -> str | None:
    """What may not be true once everything has arrived and nobody decides anything more."""
    win = world.win
    if win is None or world.sent != world.said or world.is_voided != world.is_void_known:
        return None
    if world.heard is None or world.heard.event_sequence != win.event_sequence:
        return None
    if world.is_credited != (win.state is WinState.PAID):
        return f"credited {world.is_credited}, and {win.state.name}"
    if win.state is WinState.PAID and win.wallet_entry_id != ENTRY:
        return "paid without its entry"
    if win.state is WinState.PAYABLE and world.acted_sequence < win.event_sequence:
        return "payable, heard, and nobody acts"
    if world.is_voided and win.state is WinState.PAYABLE and not win.spin_voided:
        return "payable although its spin was voided"
    if world.is_voided and world.is_credited and not world.void_names_credit and not win.spin_voided:
        return "credited after the void without people having decided"
    if world.is_voided and world.void_names_credit and not win.review_required:
        return "credited, then voided, and nobody is to look"
    return None


def explore() -> set[World]:
    """Every state that can be reached; fails at the first wrong one, and says how it came about."""
    start = World()
    came_from: dict[World, World | None] = {start: None}
    waiting = deque([start])
    while waiting:
        world = waiting.popleft()
        for after in (*arrivals(world), *decisions(world), *wallet_moves(world)):
            if after in came_from:
                continue
            came_from[after] = world
            wrong = wrong_now(after) or wrong_at_rest(after)
            assert wrong is None, f"{wrong}:\n" + "\n".join(map(str, way_to(after, came_from)))
            waiting.append(after)
    return set(came_from)


def way_to(world: World | None, came_from: dict[World, World | None]) -> list[World]:
    way = []
    while world is not None:
        way.append(world)
        world = came_from[world]
    return way[::-1]


def test_v1_to_v6_no_order_of_void_credit_and_people_loses_or_doubles_a_coin() -> None:
    worlds = explore()
    log.info("%d states", len(worlds))
    assert len(worlds) > 1000, "too small a world to prove anything"
    ends = {(w.win.state if w.win else None, w.is_voided, w.is_credited) for w in worlds}
    for end in (
        (None, True, False),
        (WinState.HELD, True, False),
        (WinState.PAID, True, True),
        (WinState.PAID, False, True),
        (WinState.REJECTED, True, False),
        (WinState.REJECTED, False, False),
    ):
        assert end in ends


def test_v4_without_the_wallets_own_memory_of_voids_the_model_finds_the_hole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    knows = is_to_credit

    def forgets_its_voids(win: StoredWin) -> bool:
        return knows(replace(win, is_spin_voided_here=False))

    monkeypatch.setitem(globals(), "is_to_credit", forgets_its_voids)
    with pytest.raises(AssertionError, match=r"credited|rejected|paid"):
        explore()


def test_pr_18_without_the_sequence_of_a_word_the_model_finds_the_hole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asks = reject

    def believes_any_confirmation(win: Win, said: object) -> object:
        return asks(replace(win, hold_reason=HoldReason.AMOUNT), ())

    monkeypatch.setitem(globals(), "reject", believes_any_confirmation)
    with pytest.raises(AssertionError, match="rejected"):
        explore()

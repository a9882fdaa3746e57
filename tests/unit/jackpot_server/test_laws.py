"""Laws that hold for every configuration and every history; LAWS=10000 examples of each in a long run."""

import ast
import inspect
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from jackpot_server import domain
from jackpot_server.domain.admin_commands import ApproveWin, HoldWin, RejectWin
from jackpot_server.domain.commands import Acknowledge, Contribute, Outcome, Void
from jackpot_server.domain.decision import (
    Answer,
)
from jackpot_server.domain.facts import Account, Acknowledged, Entry, Recorded, Voided, WinState
from jackpot_server.domain.pool import GameSays, Lifecycle, MustDropBy, MustHitBy, Odds, PoolConfig, Trigger
from service_kit import money
from service_kit.money import MICROS, whole_minor
from tests.support.engine import START, Engine, credited, cycles_won, not_credited, pool_config, spin, voided

EXAMPLES = int(os.environ.get("LAWS") or 120)
POOLS = ("mini", "minor", "major")
WAGERS = st.one_of(st.integers(1, 500), st.sampled_from([1, 10_000, 10**12]))


@st.composite
def configs(draw: st.DrawFn, *, has_clock: bool = True) -> PoolConfig:
    """Any configuration; without `has_clock`, one that falls without looking at it."""
    reset = draw(st.integers(1, 2000))
    contribution_ppm = draw(st.integers(1, 500_000))
    others: dict[str, object] = {
        "reserve_ppm": draw(st.integers(0, 500_000)),
        "min_wager_minor": draw(st.sampled_from([0, 0, 5])),
        "max_contribution_minor": draw(st.sampled_from([0, 0, 0, 40])),
        "overflow_limit_minor": draw(st.sampled_from([0, 0, 3, 700])),
        "hold_wins_above_minor": draw(st.sampled_from([0, reset, reset + 100])),
    }
    kind = draw(st.sampled_from(["odds", "amount", "game", "moment" if has_clock else "odds"]))
    trigger: Trigger
    if kind == "amount":
        ceiling = reset + draw(st.integers(1, 300))
        trigger = MustHitBy(draw(st.integers(1, ceiling)), ceiling)
    else:
        others["ceiling_minor"] = draw(st.sampled_from([0, reset + 1, reset + 200]))
        if kind == "odds":
            trigger = Odds(draw(st.integers(1, 60)), draw(st.integers(1, 200)))
        elif kind == "moment":
            trigger = MustDropBy(
                draw(st.integers(2, 30)), START + timedelta(seconds=draw(st.integers(-9, 9)))
            )
        else:
            trigger = GameSays()
    return pool_config(trigger, contribution_ppm=contribution_ppm, reset_minor=reset, **others)


@dataclass(frozen=True)
class Said:
    """An acknowledgement of the win that is `index`-th when it is said."""

    index: int
    outcome: Outcome
    entry: str
    is_late: bool


@dataclass(frozen=True)
class DecidedBy:
    """What people do with the win that is `index`-th when they do it."""

    index: int
    what: type[HoldWin] | type[ApproveWin] | type[RejectWin]


@dataclass(frozen=True)
class Changed:
    """A new configuration of a pool."""

    pool_id: str
    config: PoolConfig


contributions = st.builds(
    spin,
    st.integers(1, 60),
    wager_minor=WAGERS,
    operator_id=st.sampled_from(["one", "two"]),
    client_seed=st.sampled_from(["", "lucky"]),
    triggered_tiers=st.sampled_from([(), (), (), ("MAJOR",)]),
)
voids = st.builds(
    lambda number, pools, operator: voided(number, *pools, operator_id=operator),
    st.integers(1, 70),
    st.lists(st.sampled_from(sorted(POOLS)), unique=True, max_size=2).map(sorted),
    st.sampled_from(["one", "two"]),
)
steps = st.one_of(
    contributions,
    contributions,
    contributions,
    st.builds(Said, st.integers(0, 50), st.sampled_from(Outcome), st.sampled_from(["a", "b"]), st.booleans()),
    voids,
    st.builds(DecidedBy, st.integers(0, 50), st.sampled_from([HoldWin, ApproveWin, RejectWin])),
    st.builds(Changed, st.sampled_from(POOLS), configs()),
    st.tuples(st.sampled_from(POOLS), st.sampled_from([Lifecycle.ACTIVE, Lifecycle.PAUSED])),
)


@dataclass(frozen=True)
class History:
    configs: tuple[PoolConfig, ...]
    steps: tuple[object, ...]

    def engine(self) -> Engine:
        return Engine(dict(zip(POOLS, self.configs, strict=True)))


histories = st.builds(
    History, st.tuples(configs(), configs(), configs()), st.lists(steps, min_size=25, max_size=80).map(tuple)
)


def play(history: History) -> Iterator[tuple[Engine, object, list[Answer]]]:
    """Plays step by step: after each, the engine, the step and its answers."""
    engine = history.engine()
    for step in history.steps:
        yield engine, step, play_one(engine, step)


def play_one(engine: Engine, step: object) -> list[Answer]:
    match step:
        case Contribute() | Void():
            return engine.submit(step)
        case DecidedBy(index, what):
            wins = list(engine.wins.values())
            if wins:
                win = wins[index % len(wins)]
                engine.change(what(win.pool_id, win.spin_id))
        case Said():
            command = acknowledgement(engine, step)
            return [] if command is None else engine.submit(command)
        case Changed(pool_id, config):
            engine.configure(pool_id, config)
        case (str() as pool_id, Lifecycle() as state):
            engine.set_state(pool_id, state)
    return []


def acknowledgement(engine: Engine, said: Said) -> Acknowledge | None:
    wins = list(engine.wins.values())
    if not wins:
        return None
    win = wins[said.index % len(wins)]
    sequence = max(win.event_sequence - said.is_late, 0)
    if said.outcome is Outcome.CREDITED:
        return credited(win, said.entry, event_sequence=sequence)
    return not_credited(win, said.outcome, event_sequence=sequence)


def check_conservation(engine: Engine) -> None:
    resets = {  # what each pool opened with, before any batch
        pool_id: engine.configs[key, 1].config.reset_minor * MICROS for pool_id, key in engine.keys.items()
    }
    for pool_id in POOLS:
        pool = engine.pool(pool_id)
        assert pool.current_micros == resets[pool_id] + engine.balance(Account.CURRENT, pool_id)
        assert pool.reserve_micros == engine.balance(Account.RESERVE, pool_id)
        assert pool.overflow_micros == engine.balance(Account.OVERFLOW, pool_id)
        assert min(pool.current_micros, pool.reserve_micros, pool.overflow_micros) >= 0
    assert sum(entry.amount_micros for entry in engine.entries) == 0
    for decision in engine.decisions:
        assert sum(entry.amount_micros for entry in decision.entries) == 0
    kept = [first.contribution for spin_id, first in engine.recorded.items() if spin_id not in engine.voids]
    shares = [share for contribution in kept for share in contribution.shares]
    assert engine.funding() == sum(share[3] + share[4] + share[5] for share in shares)
    owed: Counter[WinState] = Counter()
    for win in engine.wins.values():
        owed[win.state] += win.amount_minor * MICROS
    assert engine.balance(Account.WINS_PAID) == owed[WinState.PAID]
    assert engine.balance(Account.WINS_PAYABLE) == owed[WinState.PAYABLE] + owed[WinState.HELD]


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories)
def test_pr_02_no_micro_is_made_or_lost(history: History) -> None:
    engine = history.engine()
    for engine, _, _ in play(history):  # noqa: B007
        pass
    check_conservation(engine)


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories)
def test_pr_04_the_displayed_amount_never_falls_within_a_cycle(history: History) -> None:
    shown: dict[tuple[str, int], int] = {}
    for engine, _, _ in play(history):
        for pool_id in POOLS:
            pool = engine.pool(pool_id)
            minor = whole_minor(pool.current_micros)
            assert minor >= shown.get((pool_id, pool.cycle), 0)
            shown[pool_id, pool.cycle] = minor


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories)
def test_a_cycle_opens_at_its_reset_or_above_and_is_won_once(history: History) -> None:
    for engine, _, _ in play(history):
        assert set(cycles_won(engine).values()) <= {1}
        for pool_id, key in engine.keys.items():
            pool = engine.pool(pool_id)
            config = engine.configs[key, pool.cycle_config_version].config
            assert pool.current_micros >= pool.cycle_start_micros >= config.reset_minor * MICROS
        # Every closed cycle has its win.
        assert all(
            cycles_won(engine)[pool_id, cycle] == 1
            for pool_id in POOLS
            for cycle in range(1, engine.pool(pool_id).cycle)
        )


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories)
def test_whatever_was_answered_is_answered_again_and_changes_nothing(history: History) -> None:
    engine = history.engine()
    for engine, _, _ in play(history):  # noqa: B007
        pass
    states, entries, events = dict(engine.states), list(engine.entries), dict(engine.events)
    arrived = [first for first in engine.recorded.values() if first.contribution.command.wager_minor]
    commands = [first.contribution.command for first in arrived]
    for first, again in zip(arrived, engine.submit(*commands), strict=True):
        assert isinstance(again, Recorded)
        assert again.replayed
        assert again.contribution == first.contribution
        assert [(win.pool_id, win.cycle, win.amount_minor, win.proof) for win in again.wins] == [
            (win.pool_id, win.cycle, win.amount_minor, win.proof) for win in first.wins
        ]
        assert list(again.wins) == [engine.wins[win.pool_id, win.spin_id] for win in first.wins]
    for said in [command for commands in engine.said.values() for command in commands]:
        engine.submit(said)
    for answer in engine.submit(*engine.voids.values()):
        assert isinstance(answer, Voided)
        assert answer.replayed
    assert (engine.states, engine.entries, engine.events) == (states, entries, events)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.tuples(*[configs(has_clock=False)] * 3),
    st.lists(st.one_of(contributions, contributions, contributions, voids), min_size=20, max_size=80),
    st.lists(st.integers(1, 80), min_size=1, max_size=20),
)
def test_any_split_into_batches_gives_the_same_decisions(
    of_pools: tuple[PoolConfig, ...], commands: list[Contribute | Void], sizes: list[int]
) -> None:
    whole, split = (Engine(dict(zip(POOLS, of_pools, strict=True))) for _ in range(2))
    one = whole.submit(*commands)
    other: list[Answer] = []
    while len(other) < len(commands):
        size = sizes[len(other) % len(sizes)]
        other += split.submit(*commands[len(other) : len(other) + size])
    assert [_decided(answer) for answer in one] == [_decided(answer) for answer in other]
    for pool_id in POOLS:
        assert _amounts(whole, pool_id) == _amounts(split, pool_id)
    assert _totals(whole) == _totals(split)


def _decided(answer: Answer) -> object:
    """What was decided, without the clock and without whether it was the first time."""
    if not isinstance(answer, Recorded | Voided):
        return answer
    wins = [
        (win.pool_id, win.cycle, win.amount_minor, win.proof, win.state, win.event_sequence)
        for win in answer.wins
    ]
    contribution = answer.contribution
    return contribution.command, contribution.state, list(contribution.shares), wins


def _amounts(engine: Engine, pool_id: str) -> tuple[int, ...]:
    pool = engine.pool(pool_id)
    return pool.current_micros, pool.reserve_micros, pool.overflow_micros, pool.cycle, pool.cycle_start_micros


def _totals(engine: Engine) -> dict[object, int]:
    totals: dict[object, int] = {}
    for entry in engine.entries:
        name = entry._replace(amount_micros=0)
        totals[name] = totals.get(name, 0) + entry.amount_micros
    return totals


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories)
def test_pr_17_pr_18_events_are_gapless_and_states_only_move_as_allowed(history: History) -> None:
    engine = history.engine()
    for engine, step, answers in play(history):
        for answer in answers:
            if isinstance(step, Said) and isinstance(answer, Acknowledged):
                assert answer.win == engine.wins[answer.win.pool_id, answer.win.spin_id]
    allowed = {
        (None, WinState.PAYABLE),
        (None, WinState.HELD),
        (WinState.HELD, WinState.HELD),
        (WinState.HELD, WinState.PAYABLE),
        (WinState.HELD, WinState.REJECTED),
        (WinState.PAYABLE, WinState.PAID),
        (WinState.PAYABLE, WinState.HELD),
        (WinState.HELD, WinState.PAID),
        (WinState.PAID, WinState.PAID),
    }
    for operator, events in engine.events.items():
        assert [event.win.event_sequence for event in events] == list(range(1, len(events) + 1))
        states: dict[tuple[str, object], WinState] = {}
        for event in events:
            key = (event.win.pool_id, event.win.spin_id)
            assert event.win.operator_id == operator
            assert (states.get(key), event.win.state) in allowed
            states[key] = event.win.state


def test_pr_05_no_float_is_written_or_declared_in_the_engine() -> None:
    files = [*Path(inspect.getfile(domain)).parent.glob("*.py"), Path(inspect.getfile(money))]
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            where = f"{file.name}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), where
            assert not (isinstance(node, ast.Name) and node.id in {"float", "Decimal", "round"}), where
            assert not (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)), where


@settings(max_examples=EXAMPLES, deadline=None)
@given(histories)
def test_pr_05_every_number_of_a_decision_is_an_int(history: History) -> None:
    engine = history.engine()
    for engine, _, _ in play(history):  # noqa: B007
        pass
    for entry in engine.entries:
        assert isinstance(entry, Entry)
        assert type(entry.amount_micros) is int
    for first in engine.recorded.values():
        for share in first.contribution.shares:
            assert all(isinstance(number, int) for number in share)
            assert max(share) < 2**63
    for win in engine.wins.values():
        assert type(win.amount_minor) is int
        assert 0 < win.amount_minor < 2**63

"""V1 to V6: what becomes of a contribution that is taken back, and of the wins of its spin."""

from dataclasses import replace

import pytest

from jackpot_server.domain.decision import (
    Answer,
)
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import (
    Account,
    ContributionState,
    EntryKind,
    EventKind,
    HoldReason,
    Recorded,
    Voided,
    Win,
    WinState,
)
from jackpot_server.domain.pool import Lifecycle
from service_kit.money import MICROS
from tests.support.engine import ALWAYS, Engine, credited, pool_config, spin, voided

SHARE = 100 * 10_000 + 100 * 5_000


@pytest.fixture
def engine() -> Engine:
    """Two pools that nobody wins, one with a reserve: a wager of 100 puts SHARE into `saving`."""
    return Engine({"saving": pool_config(reserve_ppm=5_000), "other": pool_config(contribution_ppm=2_000)})


@pytest.fixture
def falling() -> Engine:
    """A pool that falls to everybody."""
    return Engine({"pool": pool_config(ALWAYS)})


def as_voided(answer: Answer) -> Voided:
    assert isinstance(answer, Voided)
    return answer


def win_of(engine: Engine, number: int = 1) -> Win:
    return engine.wins["pool", spin(number).spin_id]


def test_v1_a_void_before_the_contribution_is_remembered_and_the_late_one_moves_nothing(
    falling: Engine,
) -> None:
    before = falling.states
    first = as_voided(falling.submit(voided(1))[0])
    assert (first.contribution.state, first.contribution.shares) == (ContributionState.VOIDED, ())
    [late] = falling.submit(spin(1))
    assert isinstance(late, Recorded)
    assert (late.contribution.state, late.contribution.shares, late.wins) == (
        ContributionState.VOIDED, (), (),
    )  # fmt: skip
    assert late.contribution.command == spin(1), "the caller sees what it asked"
    assert not falling.entries
    assert not falling.wins
    assert falling.states == before


def test_v1_in_one_batch_too(falling: Engine) -> None:
    _, late = falling.submit(voided(1), spin(1))
    assert isinstance(late, Recorded)
    assert not late.wins
    assert not falling.entries


def test_v1_another_operators_contribution_cannot_take_the_voided_id(falling: Engine) -> None:
    falling.submit(voided(1))
    [refused] = falling.submit(spin(1, operator_id="another"))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.fields) == (Reason.SPIN_ID_REUSED, ())


def test_v2_a_void_gives_the_operator_everything_back_and_what_is_shown_does_not_fall(
    engine: Engine,
) -> None:
    engine.submit(spin(1))
    shown = engine.pool("saving").current_micros
    funding = engine.balance(Account.FUNDING)
    answer = as_voided(engine.submit(voided(1))[0])
    assert answer.contribution.state is ContributionState.VOIDED
    assert len(answer.contribution.shares) == 2, "as it was recorded"
    assert engine.pool("saving").current_micros == shown
    assert engine.balance(Account.FUNDING) == funding + SHARE + 100 * 2_000 == 0


def test_v2_a_void_is_paid_from_overflow_then_reserve_then_house() -> None:
    config = pool_config(contribution_ppm=1_000_000, reserve_ppm=0, reset_minor=100, ceiling_minor=150)
    engine = Engine({"pool": config})
    engine.submit(spin(1, wager_minor=60))  # 50 into the pool, 10 into the overflow
    engine.submit(voided(1))
    moved = {(e.account, e.kind): e.amount_micros for e in engine.decisions[-1].entries}
    assert moved == {
        (Account.FUNDING, EntryKind.VOID): 60 * MICROS,
        (Account.OVERFLOW, EntryKind.VOID): -10 * MICROS,
        (Account.HOUSE, EntryKind.VOID): -50 * MICROS,
    }
    saving = Engine({"pool": pool_config(contribution_ppm=0, reserve_ppm=500_000)})
    saving.submit(spin(1))
    saving.submit(voided(1))
    assert {(e.account, e.amount_micros) for e in saving.decisions[-1].entries} == {
        (Account.FUNDING, 50 * MICROS), (Account.RESERVE, -50 * MICROS),
    }  # fmt: skip


def test_v3_whoever_won_the_pool_since_keeps_everything(engine: Engine) -> None:
    engine.submit(spin(1))
    engine.let_fall("other", spin(2, wager_minor=1))
    [win] = engine.wins.values()
    pool = engine.pool("other")
    engine.submit(voided(1))
    assert engine.wins == {("other", spin(2).spin_id): win}
    assert engine.pool("other").current_micros == pool.current_micros


def test_v4_the_win_of_a_voided_spin_is_held_until_people_decide(falling: Engine) -> None:
    falling.submit(spin(1))
    [held] = as_voided(falling.submit(voided(1))[0]).wins
    assert (held.state, held.hold_reason, held.spin_voided) == (WinState.HELD, HoldReason.VOID, True)
    assert held.event_sequence == 2
    assert [event.kind for event in falling.events["operator"]] == [EventKind.DECIDED, EventKind.HELD]


def test_v4_a_late_word_of_a_credit_after_the_void_is_a_fact_and_asks_for_a_review(falling: Engine) -> None:
    falling.submit(spin(1))
    won = win_of(falling)
    falling.submit(voided(1))
    falling.submit(credited(won))
    paid = win_of(falling)
    assert (paid.state, paid.review_required, paid.spin_voided) == (WinState.PAID, True, True)


def test_v5_a_win_that_was_acknowledged_before_the_void_stays_paid_for_review(falling: Engine) -> None:
    falling.submit(spin(1))
    falling.submit(credited(win_of(falling)))
    [paid] = as_voided(falling.submit(voided(1, "pool"))[0]).wins
    assert (paid.state, paid.review_required, paid.spin_voided) == (WinState.PAID, True, True)
    assert falling.events["operator"][-1].kind is EventKind.REVIEW_REQUIRED
    assert falling.balance(Account.FUNDING) == 0, "the contribution is reversed all the same"


def test_v5_a_win_that_the_void_says_was_credited_is_paid_and_its_entry_comes_later(falling: Engine) -> None:
    falling.submit(spin(1))
    won = win_of(falling)
    [paid] = as_voided(falling.submit(voided(1, "pool"))[0]).wins
    assert (paid.state, paid.wallet_entry_id, paid.review_required) == (WinState.PAID, "", True)
    assert falling.balance(Account.WINS_PAID) == won.amount_minor * MICROS
    falling.submit(credited(won, "entry-7"))
    known = win_of(falling)
    assert (known.state, known.wallet_entry_id) == (WinState.PAID, "entry-7")
    assert falling.balance(Account.WINS_PAID) == won.amount_minor * MICROS, "paid once"
    kinds = [event.kind for event in falling.events["operator"]]
    assert kinds.count(EventKind.PAID) == 1
    [again] = falling.submit(credited(won, "entry-8"))
    assert isinstance(again, Refused)
    assert again.reason is Reason.WIN_ALREADY_PAID


def test_v6_a_second_void_has_the_same_answer_and_moves_nothing(falling: Engine) -> None:
    falling.submit(spin(1))
    first = as_voided(falling.submit(voided(1))[0])
    entries = len(falling.entries)
    again = as_voided(falling.submit(voided(1, reason="because"))[0])
    assert (again.contribution, again.wins, again.replayed) == (first.contribution, first.wins, True)
    assert len(falling.entries) == entries
    assert falling.decisions[-1].is_empty
    [repeat] = falling.submit(spin(1))
    assert isinstance(repeat, Recorded)
    assert repeat.contribution == first.contribution


def test_v6_a_void_with_other_credited_wins_is_another_request(falling: Engine) -> None:
    falling.submit(spin(1), voided(1))
    [refused] = falling.submit(voided(1, "pool"))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.fields) == (Reason.SPIN_ID_REUSED, ("credited_wins",))


def test_v6_only_the_spins_operator_can_void_it(engine: Engine) -> None:
    engine.submit(spin(1))
    [refused] = engine.submit(voided(1, operator_id="another"))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.fields) == (Reason.SPIN_ID_REUSED, ())
    assert not engine.voids


def test_v8_a_contribution_that_arrives_after_a_win_joins_the_running_cycle(falling: Engine) -> None:
    falling.submit(spin(2))
    [late] = falling.submit(spin(1))
    assert isinstance(late, Recorded)
    assert late.contribution.shares[0][1] == 2, "the second cycle"


def test_a_void_of_a_closed_pools_share_is_paid_by_the_house(engine: Engine) -> None:
    engine.submit(spin(1))
    engine.set_state("saving", Lifecycle.CLOSED)
    key = engine.keys["saving"]
    engine.states[key] = replace(engine.states[key], current_micros=0, reserve_micros=0)
    engine.submit(voided(1))
    moved = {(e.account, e.pool_key): e.amount_micros for e in engine.decisions[-1].entries}
    assert moved[Account.HOUSE, None] == -(SHARE + 100 * 2_000)


def test_a_wallet_that_names_a_win_which_nobody_decided_is_contradicted(engine: Engine) -> None:
    engine.submit(spin(1))
    engine.submit(voided(1, "saving"))
    assert [said.reason for said in engine.decisions[-1].contradictions] == [Reason.WIN_NOT_FOUND]


def test_pr_09_a_shadow_pools_share_is_no_money_to_give_back(engine: Engine) -> None:
    engine.set_state("saving", Lifecycle.SHADOW)
    engine.submit(spin(1))
    pool = engine.pool("saving")
    engine.submit(voided(1))
    assert engine.pool("saving") == pool
    assert engine.balance(Account.FUNDING) == 0

"""PR-17: what a wallet's word about a win changes."""

from dataclasses import replace

import pytest

from jackpot_server.domain.acknowledge import judge
from jackpot_server.domain.commands import Acknowledge, Outcome
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import (
    Account,
    Acknowledged,
    EventKind,
    HoldReason,
    Win,
    WinState,
)
from service_kit.money import MICROS
from tests.support.engine import ALWAYS, START, Engine, credited, not_credited, pool_config, spin


@pytest.fixture
def engine() -> Engine:
    engine = Engine({"major": pool_config(ALWAYS)})
    engine.submit(spin(1))
    return engine


def win_of(engine: Engine) -> Win:
    return engine.wins["major", spin(1).spin_id]


def say(engine: Engine, command: Acknowledge) -> Acknowledged | Refused:
    [answer] = engine.submit(command)
    assert isinstance(answer, Acknowledged | Refused)
    return answer


def kinds(engine: Engine) -> list[EventKind]:
    return [event.kind for event in engine.events["operator"]]


def test_pr_17_credited_pays_a_payable_win_and_books_it(engine: Engine) -> None:
    answer = say(engine, credited(win_of(engine)))
    assert isinstance(answer, Acknowledged)
    assert not answer.replayed
    assert (answer.win.state, answer.win.wallet_entry_id) == (WinState.PAID, "entry-1")
    assert (answer.win.review_required, answer.win.event_sequence) == (False, 2)
    assert answer.win.pay_time is not None
    assert kinds(engine) == [EventKind.DECIDED, EventKind.PAID]
    assert engine.balance(Account.WINS_PAYABLE) == 0
    assert engine.balance(Account.WINS_PAID) == 1001 * MICROS


def test_pr_17_the_same_entry_again_is_a_replay(engine: Engine) -> None:
    command = credited(win_of(engine))
    first = say(engine, command)
    entries = list(engine.entries)
    again = say(engine, command)
    assert isinstance(first, Acknowledged)
    assert again == Acknowledged(first.win, replayed=True)
    assert engine.entries == entries
    assert len(engine.said["major", command.spin_id]) == 1


def test_pr_17_the_same_entry_with_a_newer_sequence_is_a_replay_too(engine: Engine) -> None:
    command = credited(win_of(engine))
    say(engine, command)
    again = say(engine, command._replace(event_sequence=2))
    assert isinstance(again, Acknowledged)
    assert again.replayed
    assert kinds(engine) == [EventKind.DECIDED, EventKind.PAID]


def test_pr_17_another_entry_is_refused_and_told_once(engine: Engine) -> None:
    win = win_of(engine)
    say(engine, credited(win))
    for _ in range(3):
        refused = say(engine, credited(win, "entry-2"))
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.WIN_ALREADY_PAID
    assert kinds(engine) == [EventKind.DECIDED, EventKind.PAID, EventKind.REVIEW_REQUIRED]
    say(engine, credited(win, "entry-3"))
    assert kinds(engine)[-2:] == [EventKind.REVIEW_REQUIRED] * 2
    now = win_of(engine)
    assert (now.state, now.wallet_entry_id, now.review_required) == (WinState.PAID, "entry-1", True)
    assert engine.balance(Account.WINS_PAID) == 1001 * MICROS


@pytest.mark.parametrize(
    "wrong",
    [{"credited_minor": 1000}, {"credited_minor": None, "currency_code": ""}, {"currency_code": "USD"}],
)
def test_pr_17_an_unequal_amount_is_refused_and_leaves_nothing(
    engine: Engine, wrong: dict[str, object]
) -> None:
    refused = say(engine, credited(win_of(engine), **wrong))  # type: ignore[arg-type]
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.AMOUNT_MISMATCH
    assert kinds(engine) == [EventKind.DECIDED]
    assert engine.said["major", spin(1).spin_id] == []


def test_pr_17_failed_holds_a_payable_win(engine: Engine) -> None:
    answer = say(engine, not_credited(win_of(engine), Outcome.FAILED, failure_reason="wallet closed"))
    assert isinstance(answer, Acknowledged)
    assert not answer.replayed
    assert (answer.win.state, answer.win.hold_reason) == (WinState.HELD, HoldReason.CREDIT_FAILED)
    assert engine.balance(Account.WINS_PAYABLE) == 1001 * MICROS


def test_pr_17_failed_does_not_count_unless_its_sequence_is_the_last(engine: Engine) -> None:
    before = win_of(engine)
    for sequence in (0, 2):
        answer = say(engine, not_credited(before, Outcome.FAILED, event_sequence=sequence))
        assert answer == Acknowledged(before, replayed=True)
    assert kinds(engine) == [EventKind.DECIDED]
    # Stored all the same: it was said.
    assert len(engine.said["major", before.spin_id]) == 2


def test_pr_17_failed_after_credited_changes_nothing(engine: Engine) -> None:
    win = win_of(engine)
    say(engine, credited(win))
    answer = say(engine, not_credited(win_of(engine), Outcome.FAILED))
    assert isinstance(answer, Acknowledged)
    assert (answer.win.state, answer.replayed) == (WinState.PAID, True)


def test_pr_17_failed_twice_holds_once(engine: Engine) -> None:
    command = not_credited(win_of(engine), Outcome.FAILED)
    say(engine, command)
    answer = say(engine, command)
    assert isinstance(answer, Acknowledged)
    assert (answer.win.state, answer.replayed) == (WinState.HELD, True)
    assert kinds(engine) == [EventKind.DECIDED, EventKind.HELD]


def test_pr_17_credited_is_a_fact_also_of_a_held_win(engine: Engine) -> None:
    payable = win_of(engine)
    say(engine, not_credited(payable, Outcome.FAILED))
    answer = say(engine, credited(payable))
    assert isinstance(answer, Acknowledged)
    assert (answer.win.state, answer.win.review_required) == (WinState.PAID, True)
    assert engine.balance(Account.WINS_PAYABLE) == 0


def test_pr_17_hold_confirmed_counts_only_of_the_last_event_of_a_held_win(engine: Engine) -> None:
    payable = win_of(engine)
    answer = say(engine, not_credited(payable, Outcome.HOLD_CONFIRMED))
    assert answer == Acknowledged(payable, replayed=True)
    say(engine, not_credited(payable, Outcome.FAILED))
    held = win_of(engine)
    assert say(engine, not_credited(payable, Outcome.HOLD_CONFIRMED)) == Acknowledged(held, replayed=True)
    confirmed = not_credited(held, Outcome.HOLD_CONFIRMED)
    assert say(engine, confirmed) == Acknowledged(held, replayed=False)
    assert say(engine, confirmed) == Acknowledged(held, replayed=True)
    assert kinds(engine) == [EventKind.DECIDED, EventKind.HELD]


def test_pr_17_a_rejected_win_that_was_credited_is_an_alarm(engine: Engine) -> None:
    rejected = replace(win_of(engine), state=WinState.REJECTED)
    verdict = judge(rejected, (), credited(rejected), START)
    assert verdict.refused is not None
    assert verdict.refused.reason is Reason.WIN_NOT_PAYABLE
    assert (verdict.is_new, verdict.took_effect, verdict.event) == (True, False, None)


def test_pr_17_two_words_about_one_win_in_one_batch_are_taken_in_order(engine: Engine) -> None:
    win = win_of(engine)
    held, paid = engine.decide([not_credited(win, Outcome.FAILED), credited(win)])
    assert isinstance(held, Acknowledged)
    assert isinstance(paid, Acknowledged)
    assert (held.win.state, held.win.event_sequence) == (WinState.HELD, 2)
    assert (paid.win.state, paid.win.event_sequence, paid.win.review_required) == (WinState.PAID, 3, True)


def test_a_win_that_does_not_exist_is_not_found(engine: Engine) -> None:
    refused = say(engine, credited(win_of(engine))._replace(pool_id="another"))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.WIN_NOT_FOUND


def test_a_contradiction_is_reported_for_somebody_to_look_at(engine: Engine) -> None:
    say(engine, credited(win_of(engine), credited_minor=1))
    [said] = engine.decisions[-1].contradictions
    assert (said.spin_id, said.reason) == (spin(1).spin_id, Reason.AMOUNT_MISMATCH)

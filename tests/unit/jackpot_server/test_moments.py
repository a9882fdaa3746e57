"""PR-14: must_drop_by. A hidden moment of each period, the first spin at or after it, however late."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackpot_server.domain.facts import Recorded, Win
from jackpot_server.domain.pool import MustDropBy, canonical_text, parse_canonical
from jackpot_server.domain.trigger import Opening, cycle_trigger, deadline_of_cycle, moment_range, since_1970
from tests.support.engine import START, Engine, pool_config, spin

DAY = timedelta(days=1)
DAILY = MustDropBy(86_400, START + timedelta(hours=21))
DIGEST = bytes(32)


def played_at(engine: Engine, number: int, now: datetime) -> Win | None:
    """The win of a spin at a moment, if it wins."""
    engine.now = now
    [answer] = engine.submit(spin(number))
    assert isinstance(answer, Recorded)
    return answer.wins[0] if answer.wins else None


def moment_of(win: Win) -> datetime:
    assert win.proof.hidden is not None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=win.proof.hidden)


def test_pr_14_each_period_falls_once_to_the_first_spin_at_or_after_its_hidden_moment() -> None:
    engine = Engine({"daily": pool_config(DAILY)})
    wins = []
    for minute in range(0, 10 * 24 * 60, 7):
        now = START + timedelta(minutes=minute)
        win = played_at(engine, minute + 1, now)
        if win is not None:
            hidden = moment_of(win)
            assert hidden <= now < hidden + timedelta(minutes=7)  # not to the spin before
            assert win.proof.reached == since_1970(now)
            wins.append(win)
    deadlines = [START + timedelta(hours=21) + number * DAY for number in range(len(wins))]
    assert [win.proof.cycle_deadline for win in wins] == deadlines
    assert len(wins) in (9, 10)
    assert all(moment_of(win) <= deadline for win, deadline in zip(wins, deadlines, strict=True))
    assert all(deadline - DAY <= moment_of(win) for win, deadline in zip(wins, deadlines, strict=True))


def test_pr_14_if_none_came_by_the_deadline_the_first_one_after_it_wins() -> None:
    engine = Engine({"daily": pool_config(DAILY)})
    late = START + timedelta(days=3, hours=5)
    win = played_at(engine, 1, late)
    assert win is not None
    assert win.proof.cycle_deadline == START + timedelta(hours=21)
    # The days that nobody played are gone: the next one to fall is the running one, once, from now on.
    assert engine.pool("daily").cycle_deadline == START + timedelta(days=3, hours=21)
    again = played_at(engine, 2, START + timedelta(days=3, hours=21))
    assert again is not None
    assert late <= moment_of(again) <= START + timedelta(days=3, hours=21)
    assert engine.pool("daily").cycle_deadline == START + timedelta(days=4, hours=21)


def test_pr_14_a_spin_exactly_at_the_hidden_moment_wins_and_one_a_microsecond_before_does_not() -> None:
    engine = Engine({"daily": pool_config(DAILY)})
    probe = Engine({"daily": pool_config(DAILY)})
    win = played_at(probe, 1, START + 2 * DAY)
    assert win is not None
    moment = moment_of(win)
    assert played_at(engine, 1, moment - timedelta(microseconds=1)) is None
    assert played_at(engine, 2, moment) is not None


def test_pr_10_pr_14_of_two_spins_of_one_batch_the_first_wins_and_the_second_finds_the_next_period() -> None:
    engine = Engine({"daily": pool_config(DAILY)})
    engine.now = START + timedelta(hours=21)
    first, second = engine.submit(spin(1), spin(2))
    assert isinstance(first, Recorded)
    assert isinstance(second, Recorded)
    assert (len(first.wins), len(second.wins)) == (1, 0)
    assert engine.pool("daily").cycle_deadline == START + timedelta(hours=21) + DAY


def test_pr_14_a_spin_that_is_skipped_does_not_win() -> None:
    engine = Engine({"daily": pool_config(DAILY, min_wager_minor=500)})
    engine.now = START + 3 * DAY
    [answer] = engine.submit(spin(1, 499))
    assert isinstance(answer, Recorded)
    assert not answer.wins
    [answer] = engine.submit(spin(2, 500))
    assert isinstance(answer, Recorded)
    assert len(answer.wins) == 1


@given(
    st.integers(60, 10_000_000),
    st.integers(-(10**12), 10**12),
    st.one_of(st.none(), st.integers(-(10**12), 10**12)),
)
def test_a_deadline_is_the_first_of_the_grid_ahead(period_s: int, opened: int, last: int | None) -> None:
    def at(micros: int) -> datetime:
        return START + timedelta(microseconds=micros)

    trigger = MustDropBy(period_s, START)
    period = timedelta(seconds=period_s)
    deadline = deadline_of_cycle(trigger, at(opened), None if last is None else at(last))
    assert deadline is not None
    assert deadline >= START
    assert (deadline - START) % period == timedelta(0)
    after = max(at(opened), at(opened if last is None else last))
    assert deadline > after
    assert deadline == START or deadline - period <= after


def test_another_trigger_has_no_deadline_and_a_changed_one_counts_from_now() -> None:
    engine = Engine({"daily": pool_config(DAILY)})
    hourly = MustDropBy(3600, START)
    engine.configure("daily", pool_config(hourly))
    # The running cycle keeps its day (PR-08), however early it falls.
    win = played_at(engine, 1, START + timedelta(hours=21))
    assert win is not None
    assert win.proof.cycle_deadline == START + timedelta(hours=21)
    assert engine.pool("daily").cycle_deadline == START + timedelta(hours=22)
    engine.configure("daily", pool_config())
    assert played_at(engine, 2, START + timedelta(hours=22)) is not None
    assert engine.pool("daily").cycle_deadline is None


@given(cycle=st.integers(1, 10**6), late_s=st.integers(0, 86_400 * 2))
def test_pr_14_a_hidden_moment_lies_in_its_period_and_not_before_its_cycle(cycle: int, late_s: int) -> None:
    opened = START + timedelta(seconds=late_s)
    deadline = deadline_of_cycle(DAILY, opened, None)
    assert deadline is not None
    earliest, latest = moment_range(DAILY, opened, deadline)
    assert earliest == max(since_1970(opened), latest - 86_400_000_000)
    opening = Opening(cycle, 0, opened, deadline)
    trigger = cycle_trigger(pool_config(DAILY), "daily", opening, bytes(32), DIGEST)
    proof = trigger.falls(spin(1), 0, deadline)
    assert proof is not None
    assert proof.hidden is not None
    assert earliest <= proof.hidden <= latest


def test_hidden_moments_are_spread_over_the_period() -> None:
    quarters = [0] * 4
    for cycle in range(4000):
        opening = Opening(cycle, 0, START - DAY, START + timedelta(hours=21))
        trigger = cycle_trigger(pool_config(DAILY), "daily", opening, bytes(32), DIGEST)
        proof = trigger.falls(spin(1), 0, START + DAY)
        assert proof is not None
        assert proof.hidden is not None
        quarters[(proof.hidden - since_1970(START - timedelta(hours=3))) * 4 // (86_400_000_000 + 1)] += 1
    assert all(900 < count < 1100 for count in quarters), quarters


@pytest.mark.parametrize("trigger", [DAILY, MustDropBy(60, datetime(2030, 1, 1, tzinfo=UTC))])
def test_its_text_is_read_again(trigger: MustDropBy) -> None:
    config = pool_config(trigger)
    assert parse_canonical(canonical_text(config)) == config

"""When calls are held back, and when one may try again."""

import pytest

from jackpot_outbox.breaker import FAILURES_TO_OPEN, FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


def no_jitter() -> float:
    return 0.0


def opened(breaker: Breaker, now: float = 0.0) -> Breaker:
    for _ in range(FAILURES_TO_OPEN):
        assert breaker.enter(now)
        breaker.failed(now)
    return breaker


def test_it_stays_closed_while_failures_are_not_in_a_row() -> None:
    breaker = Breaker(no_jitter)
    for _ in range(10):
        for _ in range(FAILURES_TO_OPEN - 1):
            assert not breaker.failed(0.0)
        breaker.succeeded()
    assert breaker.is_closed
    assert breaker.enter(0.0)


def test_failures_in_a_row_open_it_for_the_first_pause() -> None:
    breaker = opened(Breaker(no_jitter), now=10.0)
    assert not breaker.is_closed
    assert breaker.wait_s(10.0) == pytest.approx(FIRST_PAUSE_S)
    assert not breaker.enter(10.0 + FIRST_PAUSE_S - 0.001)


def test_after_the_pause_exactly_one_probe_goes() -> None:
    breaker = opened(Breaker(no_jitter))
    assert breaker.enter(FIRST_PAUSE_S)
    assert not breaker.admits(FIRST_PAUSE_S + 100)
    assert not breaker.enter(FIRST_PAUSE_S + 100)


def test_a_probe_that_is_answered_closes_it() -> None:
    breaker = opened(Breaker(no_jitter))
    breaker.enter(1.0)
    breaker.succeeded()
    assert breaker.is_closed
    assert breaker.enter(1.0)
    assert breaker.enter(1.0)


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = opened(Breaker(no_jitter)), 0.0, []
    for _ in range(8):
        pauses.append(breaker.wait_s(now))
        now += pauses[-1] + 0.001
        assert breaker.enter(now)
        assert breaker.failed(now)
    assert pauses[:4] == pytest.approx([FIRST_PAUSE_S * factor for factor in (1, 2, 4, 8)])
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S)


def test_jitter_shortens_a_pause_by_at_most_half() -> None:
    assert opened(Breaker(lambda: 1.0)).wait_s(0.0) == FIRST_PAUSE_S / 2


def test_late_failures_of_calls_from_before_do_not_prolong_the_pause() -> None:
    breaker = opened(Breaker(no_jitter))
    assert not breaker.failed(0.1)
    assert breaker.enter(FIRST_PAUSE_S)


def test_after_an_outage_it_takes_as_many_failures_as_before_to_open() -> None:
    breaker = opened(Breaker(no_jitter))
    breaker.enter(1.0)
    breaker.succeeded()
    assert not breaker.failed(1.0)
    assert breaker.is_closed

"""What happened between two looks at a server's metrics."""

import math

import pytest

from jackpot_server.monitor_view import sparkline
from jackpot_server.scrape import Series, gauge, growth, mean, quantile, times


def series(**values: float) -> Series:
    """Samples without labels."""
    return {(name, frozenset()): value for name, value in values.items()}


def buckets(*counts: tuple[str, float], path: str = "a") -> Series:
    """A histogram's buckets of one path."""
    return {("seconds_bucket", frozenset({("le", limit), ("path", path)})): count for limit, count in counts}


def test_a_counter_grew_by_the_difference_of_all_its_series_with_the_labels() -> None:
    before = {("n", frozenset({("game", "SLOTS"), ("state", s)})): 5.0 for s in ("a", "b")}
    now = dict.fromkeys(before, 8.0) | {("n", frozenset({("game", "TABLE")})): 100.0}
    assert growth(before, now, "n", {"game": "SLOTS"}) == 6.0
    assert growth(before, now, "n", {}) == 106.0


def test_a_counter_that_fell_began_anew_with_its_process() -> None:
    assert growth(series(n=1000.0), series(n=7.0), "n", {}) == 7.0


def test_nothing_is_told_of_a_source_that_does_not_answer() -> None:
    assert growth(series(n=1.0), None, "n", {}) == 0.0
    assert gauge(None, "n") is None
    assert mean(None, None, "n") is None
    assert times(None, None, "seconds", {}, 1.0).p50_ms is None


def test_a_mean_is_of_what_came_between_the_looks() -> None:
    assert mean(series(n_count=10, n_sum=1000), series(n_count=12, n_sum=1030), "n") == 15.0


def test_quantiles_are_read_off_the_buckets_of_the_path_that_is_asked_for() -> None:
    before = buckets(("0.01", 100), ("0.1", 100), ("+Inf", 100))
    others = buckets(("0.01", 0), ("+Inf", 999), path="b")
    now = {**buckets(("0.01", 150), ("0.1", 200), ("+Inf", 200)), **others}
    told = times(before, now, "seconds", {"path": "a"}, 2.0)
    assert told.per_second == 50.0
    assert told.p50_ms == pytest.approx(10.0)
    assert told.p99_ms == pytest.approx(98.2)


@pytest.mark.parametrize(
    ("share", "value"), [(0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0)]
)  # fmt: skip
def test_a_quantile_lies_linearly_within_its_bucket(share: float, value: float) -> None:
    assert quantile({1.0: 10, 2.0: 20, math.inf: 20}, share) == pytest.approx(value)


def test_a_quantile_beyond_the_last_limit_is_that_limit() -> None:
    assert quantile({1.0: 0, math.inf: 5}, 0.5) == 1.0


def test_a_sparkline_is_as_high_as_its_values() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""

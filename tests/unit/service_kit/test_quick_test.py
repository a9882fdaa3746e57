"""The account of a quick test."""

import json

import pytest
from rich.console import Console

from service_kit.quick_test import Account, impact, judge_times, percentile


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(100, 0.5, 50), (100, 0.99, 99), (10, 0.99, 10), (1, 0.5, 1)]
)
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    count: int, share: float, expected: int
) -> None:
    assert percentile(range(count, 0, -1), share) == expected


def test_the_impact_is_computed_from_the_pairs_with_its_spread() -> None:
    table = [0.010] * 4
    slots = [0.011, 0.012, 0.013, 0.030]
    assert impact(slots, table) == (
        "+2.50 ms (+25%), the median of 4 pairs; half of them from +1.25 to +15.75 ms"
    )


def test_a_faster_call_with_a_jackpot_is_shown_as_such() -> None:
    assert impact([0.009, 0.009], [0.010, 0.010]).startswith("-1.00 ms (-10%)")


@pytest.mark.parametrize(("target_ms", "passes"), [(20.0, True), (19.9, False)])
def test_the_p99_has_to_meet_the_target(target_ms: float, passes: bool) -> None:
    account = Account()
    judge_times(account, "spins", [0.001] * 98 + [0.020] * 2, target_ms)
    assert account.has_passed is passes
    assert account.figures["spins"] == {"count": 100, "p50_ms": 1.0, "p99_ms": 20.0}


def test_one_failure_fails_the_account_and_says_what_to_look_at() -> None:
    account = Account()
    account.passed("this works")
    account.failed("that does not", "its log")
    assert not account.has_passed
    assert json.loads(account.to_json())["findings"] == [
        {"ok": True, "text": "this works", "look_at": ""},
        {"ok": False, "text": "that does not", "look_at": "its log"},
    ]
    console = Console(record=True, width=80, color_system=None)
    account.show(console)
    assert console.export_text() == "✔ this works\n✘ that does not\n  Look at: its log\n"

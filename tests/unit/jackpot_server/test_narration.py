"""Golden: the lines that operators know, to the letter."""

from uuid import UUID

import pytest

from jackpot_server import narration
from jackpot_server.domain.facts import Recorded
from tests.support.engine import ALWAYS, Engine, pool_config, spin

SPIN = "00000000-0000-0000-0000-000000000007"


def lines_of(engine: Engine, wager_minor: int = 100) -> list[str]:
    """What the log says of spin 7, its start left out."""
    [recorded] = engine.submit(spin(7, wager_minor, currency_code="COIN"))
    assert isinstance(recorded, Recorded)
    labels = engine.rules.catalog.labels
    return [line.text for line in narration.contribution_lines(recorded.contribution, recorded.wins, labels)]


def test_a_spin_without_a_win() -> None:
    engine = Engine(
        {
            "minor": pool_config(tier="MINOR", currency_code="COIN", contribution_ppm=1500),
            "major": pool_config(tier="MAJOR", currency_code="COIN", contribution_ppm=500),
        }
    )
    assert lines_of(engine, wager_minor=10_000) == [
        "[ASYNC] Processing 2 eligible jackpot types: MINOR, MAJOR",
        "[ASYNC] Contributing 0.15 coins to MINOR jackpot",
        "[ASYNC] Contributing 0.05 coins to MAJOR jackpot",
        "[ASYNC] Jackpot processing completed: 2 contributions, 0 wins",
    ]


def test_a_win() -> None:
    engine = Engine(
        {
            "minor": pool_config(
                ALWAYS, tier="MINOR", currency_code="COIN", contribution_ppm=150_000, reset_minor=123_500
            ),
            "major": pool_config(tier="MAJOR", currency_code="COIN", contribution_ppm=1),
        }
    )
    assert lines_of(engine, wager_minor=10_000) == [
        "[ASYNC] Processing 2 eligible jackpot types: MINOR, MAJOR",
        "[ASYNC] Contributing 15 coins to MINOR jackpot",
        "[ASYNC] Contributing 0.0001 coins to MAJOR jackpot",
        "[ASYNC] JACKPOT WIN! MINOR jackpot triggered!",
        "[ASYNC] Jackpot win processed: 1250 coins",
        "[ASYNC] Jackpot processing completed: 2 contributions, 1 win",
    ]


def test_a_pool_that_takes_no_share_is_not_eligible() -> None:
    engine = Engine({"mini": pool_config(tier="MINI", currency_code="COIN", min_wager_minor=101)})
    assert lines_of(engine) == [
        "[ASYNC] Processing 0 eligible jackpot types",
        "[ASYNC] Jackpot processing completed: 0 contributions, 0 wins",
    ]


def test_the_start() -> None:
    assert narration.starting(UUID(SPIN)) == f"[ASYNC] Starting jackpot processing for spin {SPIN}"


@pytest.mark.parametrize(
    ("spins", "line"),
    [
        (["a"], "[ASYNC] Jackpot processing failed for spin a: SPIN_ID_REUSED"),
        (["a", "b"], "[ASYNC] Jackpot processing failed for spins a, b: SPIN_ID_REUSED"),
        (list("abcde"), "[ASYNC] Jackpot processing failed for spins a, b, c and 2 more: SPIN_ID_REUSED"),
    ],
)
def test_a_failure(spins: list[str], line: str) -> None:
    assert narration.failed(spins, "SPIN_ID_REUSED") == line


@pytest.mark.parametrize(
    ("micros", "currency_code", "words"),
    [
        (125_000_000_000, "COIN", "1250 coins"),
        (100_000_000, "COIN", "1 coin"),
        (15_000_000, "COIN", "0.15 coins"),
        (1, "COIN", "0.00000001 coins"),
        (0, "COIN", "0 coins"),
        (1_000_000_000_000, "COIN", "10000 coins"),
        (1_250_000_000, "EUR", "12.5 EUR"),
        (100_000_000, "JPY", "100 JPY"),
    ],
)
def test_amounts_are_exact_and_have_no_digit_too_many(micros: int, currency_code: str, words: str) -> None:
    assert narration.amount(micros, currency_code) == words


def test_the_second() -> None:
    assert narration.last_second(2, 1, 0) == "[ASYNC] In the last second: 2 contributions, 1 win"
    assert narration.last_second(1, 0, 3) == "[ASYNC] In the last second: 1 contribution, 0 wins, 3 failed"

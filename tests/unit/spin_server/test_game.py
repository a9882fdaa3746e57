"""Pay tables: exact, and drawn as their weights say."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spin_server.domain.game import PPM, PayTable, Prize
from spin_server.draws import draw
from spin_server.games import load_games
from tests.integration.spin_server.commands import SLOTS, TABLE, terms

CATALOG = load_games(Path(__file__).parents[3] / "devstack/demo/games.toml")
DRAWS = 200_000

tables = st.lists(
    st.builds(Prize, st.integers(0, 10**9), st.integers(1, 10**6)), min_size=1, max_size=12
).map(lambda prizes: PayTable(tuple(prizes)))


@given(tables)
def test_each_prize_has_as_many_tickets_as_its_weight(table: PayTable) -> None:
    start = 0
    for index, prize in enumerate(table.prizes):
        for ticket in (start, start + prize.weight - 1):
            assert table.prize_of(ticket) is table.prizes[index]
        start += prize.weight
    assert start == table.tickets


@given(tables)
def test_the_return_is_exact(table: PayTable) -> None:
    whole, remainder = table.exact_return()
    paid = sum(prize.multiplier_ppm * prize.weight for prize in table.prizes)
    assert whole * table.tickets + remainder == paid
    assert 0 <= remainder < table.tickets


def chi_square_exceeds(counts: Counter[int], table: PayTable, draws: int, bound: int) -> bool:
    """Whether sum((observed - expected)^2 / expected) > bound; in whole numbers, without rounding."""
    weights: Counter[int] = Counter()
    for prize in table.prizes:
        weights[prize.multiplier_ppm] += prize.weight
    assert counts.keys() <= weights.keys()
    product = 1
    for weight in weights.values():
        product *= weight
    scaled = sum(
        (counts[multiplier] * table.tickets - draws * weight) ** 2 * (product // weight)
        for multiplier, weight in weights.items()
    )
    return scaled > bound * draws * table.tickets * product


@pytest.mark.parametrize(
    ("game_id", "bound"),
    # Exceeded by chance less than once in 10^8 runs: chi-square with 8 and with 1 degrees of freedom.
    [(SLOTS, 60), (TABLE, 36)],
)
def test_played_outcomes_follow_the_weights(game_id: str, bound: int) -> None:
    table = CATALOG.games[game_id].pay_table
    assert table is not None
    spin = terms(game_id=game_id)
    counts = Counter(draw(spin, CATALOG).multiplier_ppm or 0 for _ in range(DRAWS))
    assert not chi_square_exceeds(counts, table, DRAWS, bound)
    first, second = table.prizes[:2]
    tilted = PayTable((Prize(first.multiplier_ppm, first.weight * 9 // 10), second, *table.prizes[2:]))
    assert chi_square_exceeds(counts, tilted, DRAWS, bound)


def test_whole_multiples_pay_whole_minor_units() -> None:
    for game in CATALOG.games.values():
        assert game.pay_table is not None
        assert all(prize.multiplier_ppm % PPM == 0 for prize in game.pay_table.prizes)


def test_a_game_that_is_not_there_or_has_no_table_draws_nothing() -> None:
    assert draw(terms(game_id="none"), CATALOG).multiplier_ppm is None

"""PR-16, R33, R34: draws by the million pass the tests, and sequences that are not fair do not."""

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jackpot_server.config import read_file
from jackpot_server.domain.pool import GameSays, MustDropBy, MustHitBy, Odds, PoolConfig
from jackpot_server.randomness import (
    DrawTests,
    Finding,
    chi_square,
    chi_square_p,
    normal_p,
    share_of_wins,
)
from jackpot_server.simulate_draws import Simulated, simulate_draws
from jackpot_server.simulate_pool import PoolFigures, simulate_pool
from service_kit.money import MICROS
from tests.support.engine import ALWAYS, pool_config

DEMO = Path(__file__).parents[3] / "devstack/demo/jackpots.toml"
KEY = bytes(range(32))
COUNT = 200_000


def unfair(draws: list[int]) -> set[str]:
    """The names of the tests that a sequence does not pass, added in pieces."""
    tests = DrawTests()
    for start in range(0, len(draws), 777):
        tests.add(draws[start : start + 777])
    return {finding.name.split(",")[0] for finding in tests.findings() if not finding.is_fair}


@pytest.mark.parametrize(
    ("statistic", "degrees", "p_value"),
    # From published tables.
    [(3.841, 1, 0.05), (18.307, 10, 0.05), (29.588, 10, 0.001), (3.940, 10, 0.95), (124.342, 100, 0.05)],
)
def test_chi_squares_p_values_are_those_of_the_tables(statistic: float, degrees: int, p_value: float) -> None:
    assert chi_square_p(statistic, degrees) == pytest.approx(p_value, rel=2e-3)


def test_normal_p_values_are_those_of_the_tables() -> None:
    assert [normal_p(z) for z in (0, 1.6449, 2.3263, -1.6449)] == pytest.approx(
        [0.5, 0.05, 0.01, 0.95], rel=1e-3
    )


def test_pr_16_draws_of_the_engine_pass_chi_square_runs_and_serial_correlation() -> None:
    told: list[int] = []
    simulated = simulate_draws(KEY, COUNT, told.append)
    assert simulated.is_fair, simulated.findings
    assert [finding.name.split(",")[0] for finding in simulated.findings] == [
        "chi-square",
        "chi-square",
        "runs above and below 1/2",
        "serial correlation",
        "wins at odds of 1 in 1",
        "chi-square",
    ]
    assert sum(told) == COUNT
    assert simulate_draws(KEY, COUNT, told.append).findings == simulated.findings
    assert simulate_draws(KEY[::-1], COUNT, told.append).findings != simulated.findings


def test_pieces_of_any_size_are_one_sequence() -> None:
    chance = random.Random(7)
    draws = [chance.getrandbits(256) for _ in range(5000)]
    whole, pieces = DrawTests(), DrawTests()
    whole.add(draws)
    for start in range(0, 5000, 13):
        pieces.add(draws[start : start + 13])
    assert whole.findings() == pieces.findings()


@pytest.mark.parametrize(
    ("spoil", "fails"),
    [
        (lambda draw, before: draw, set()),
        (lambda draw, before: draw | 1, {"chi-square"}),  # its last bit is stuck
        (lambda draw, before: draw % (2**256 - 2**253), {"chi-square"}),  # modulo: some are likelier
        (lambda draw, before: (draw >> 1) | (~before >> 255 & 1) << 255, {"runs above and below 1/2"}),
        (lambda draw, before: draw // 3 + before // 3 * 2, {"serial correlation"}),
    ],
    ids=["fair", "stuck bit", "modulo", "to and fro", "follows the one before"],
)
def test_pr_16_a_sequence_that_is_not_fair_does_not_pass(
    spoil: Callable[[int, int], int], fails: set[str]
) -> None:
    chance = random.Random(16)
    draws, before = [], 0
    for _ in range(COUNT // 2):
        before = spoil(chance.getrandbits(256), before)
        draws.append(before)
    assert unfair(draws) >= fails
    if not fails:
        assert unfair(draws) == set()


def test_too_many_wins_and_amounts_that_are_missed_are_noticed() -> None:
    assert share_of_wins("wins", 1000, 1_000_000, 1000).is_fair
    assert not share_of_wins("wins", 1200, 1_000_000, 1000).is_fair
    assert not share_of_wins("wins", 800, 1_000_000, 1000).is_fair
    assert chi_square("cells", Counter(dict.fromkeys(range(64), 100)), 64, 6400).p_value > 0.999999
    assert not chi_square("cells", Counter(dict.fromkeys(range(32), 200)), 64, 6400).is_fair


def test_one_test_that_fails_spoils_the_whole() -> None:
    good, bad = Finding("a", 0, 0, 0.5), Finding("b", 0, 0, 1e-7)
    assert Simulated(KEY, 1, [good, good]).is_fair
    assert not Simulated(KEY, 1, [good, bad]).is_fair


def play(config: PoolConfig, wagers: int, wager_minor: int = 100, spins_per_s: int = 1) -> PoolFigures:
    return simulate_pool(
        KEY,
        "pool",
        config,
        wagers=wagers,
        wager_minor=wager_minor,
        spins_per_s=spins_per_s,
        progress=lambda count: None,
    )


@pytest.mark.parametrize(
    "config",
    [
        pool_config(ALWAYS, reserve_ppm=5000),
        pool_config(Odds(50, 100), reserve_ppm=1, ceiling_minor=1010, overflow_limit_minor=3),
        pool_config(MustHitBy(1000, 1030)),
        pool_config(MustDropBy(60, datetime(2026, 1, 1, tzinfo=UTC)), operator_ids=("one",), game_ids=("g",)),
        pool_config(GameSays(), min_wager_minor=1000),
    ],
    ids=["always", "odds", "amount", "moment", "game"],
)
def test_pr_02_no_micro_is_lost_in_a_simulated_pool(config: PoolConfig) -> None:
    figures = play(config, 3000)
    assert figures.wagers == 3000
    left = figures.current_micros + figures.reserve_micros + figures.overflow_micros
    came = config.reset_minor * MICROS + figures.contributed_micros + figures.house_micros
    assert came == left + figures.won_minor * MICROS


def test_a_simulated_pool_falls_as_its_trigger_says() -> None:
    assert len(play(pool_config(ALWAYS), 100).amounts_minor) == 100
    # 3000 seconds, a deadline every 60.
    moments = play(pool_config(MustDropBy(60, datetime(2026, 1, 1, tzinfo=UTC))), 3000)
    assert 48 <= len(moments.amounts_minor) <= 51
    odds = play(pool_config(Odds(50, 100)), 20_000)
    assert 320 <= len(odds.amounts_minor) <= 480
    assert odds.wagered_per_win_minor == odds.wagered_minor // len(odds.amounts_minor)
    assert play(pool_config(GameSays(), min_wager_minor=1000), 100).skipped == 100


def test_every_seed_of_the_demos_smallest_pool_is_funded_by_its_reserve_in_a_long_play() -> None:
    figures = play(read_file(DEMO)["mini"], 100_000)
    assert 560 <= len(figures.amounts_minor) <= 640  # 166.67 wagered each
    assert figures.house_micros < 50 * MICROS  # the first falls may come early
    assert figures.reserve_micros > 0


def simulate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jackpot_server", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_pr_16_the_command_prints_the_table_with_its_seed_and_repeats_itself() -> None:
    ran = simulate("--draws", "20000", "--root-key", KEY.hex())
    assert ran.returncode == 0, ran.stderr
    assert KEY.hex() in ran.stdout
    for word in ("chi-square", "runs above and below", "serial correlation", "wins at odds", "fair"):
        assert word in ran.stdout
    first, again = (simulate("--draws", "20000", "--root-key", KEY.hex(), "--json") for _ in range(2))
    assert first.stdout == again.stdout
    answer = json.loads(first.stdout)
    assert (answer["draws"], answer["is_fair"], answer["root_key"]) == (20_000, True, KEY.hex())
    assert len(answer["tests"]) == 6
    assert json.loads(simulate("--draws", "10000", "--json").stdout)["root_key"] != KEY.hex()


def test_the_command_plays_a_pool_of_a_file() -> None:
    chosen = ["--pools", str(DEMO), "--pool", "mini", "--wagers", "5000", "--root-key", KEY.hex()]
    answer = json.loads(simulate(*chosen, "--json").stdout)
    assert answer["wagers"] == 5000
    assert answer["wagered_minor"] == 500_000
    assert answer["falls"] > 10
    assert "falls about every" in simulate(*chosen).stdout
    wrong = simulate("--pools", str(DEMO), "--pool", "none")
    assert wrong.returncode == 2
    assert "one of mini, minor, major, grand" in wrong.stderr

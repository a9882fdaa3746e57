"""jackpots.toml: what it says, every mistake by its key, and the text that is hashed."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jackpot_server.config import InvalidConfig, parse, read_file
from jackpot_server.domain.pool import (
    GameSays,
    MustDropBy,
    MustHitBy,
    Odds,
    PoolConfig,
    canonical_text,
    config_digest,
    parse_canonical,
    running_config,
)
from service_kit.money import MICROS
from tests.support.engine import pool_config

DEMO = Path(__file__).parents[3] / "devstack/demo/jackpots.toml"

FULL = """
[pools.grand]
display_name = "Grand"
tier = "GRAND"
currency_code = "EUR"
operator_ids = ["b", "a", "a"]
game_ids = ["game"]
provider_names = ["provider"]
game_categories = ["TABLE", "SLOTS"]
stake_kinds = ["BONUS", "CASH"]
country_codes = ["DE"]
min_wager_minor = 10
contribution_ppm = 5000
reserve_ppm = 100
max_contribution_minor = 50
reset_minor = 1000
ceiling_minor = 5000
overflow_limit_minor = 100
allow_long_odds = true
trigger = { odds = { one_in = 1000000000, per_wager_minor = 100 } }
"""
SMALL = """
[pools.mini]
display_name = "Mini"
tier = "MINI"
currency_code = "COIN"
contribution_ppm = 1500
reset_minor = 10
trigger = { must_hit_by = { floor_minor = 10, ceiling_minor = 60 } }
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as refused:
        parse(text.encode())
    return list(refused.value.problems)


def test_every_field_of_a_pool_is_read() -> None:
    assert parse(FULL.encode()) == {
        "grand": PoolConfig(
            display_name="Grand",
            tier="GRAND",
            currency_code="EUR",
            trigger=Odds(10**9, 100),
            contribution_ppm=5000,
            reset_minor=1000,
            operator_ids=("a", "b"),
            game_ids=("game",),
            provider_names=("provider",),
            game_categories=(1, 2),
            stake_kinds=(1, 2),
            country_codes=("DE",),
            min_wager_minor=10,
            reserve_ppm=100,
            max_contribution_minor=50,
            ceiling_minor=5000,
            overflow_limit_minor=100,
            allow_long_odds=True,
        )
    }


def test_categories_default_to_slots_and_stake_kinds_to_cash() -> None:
    [config] = parse(SMALL.encode()).values()
    assert (config.game_categories, config.stake_kinds) == ((1,), (1,))
    assert config.trigger == MustHitBy(10, 60)


def test_every_mistake_of_every_pool_is_named_by_its_key() -> None:
    text = """
other = 1
[pools.Mini]
display_name = ""
tier = "A,B"
currency_code = "XXA"
contribution_ppm = true
reserve_ppm = 1_000_001
reset_minor = 1.5
min_wager_minor = -1
game_categories = ["POKER"]
operator_ids = "demo"
country_codes = ["de"]
hold_wins_above_minor = -5
colour = "red"
trigger = { odds = { one_in = 0, per = 1 }, must_hit_by = { floor_minor = 1, ceiling_minor = 2 } }
[pools.major]
"""
    keys = {problem.split(":")[0] for problem in problems_of(text)}
    assert keys == {
        "other",
        "pools.Mini",
        "pools.Mini.display_name",
        "pools.Mini.tier",
        "pools.Mini.currency_code",
        "pools.Mini.contribution_ppm",
        "pools.Mini.reserve_ppm",
        "pools.Mini.reset_minor",
        "pools.Mini.min_wager_minor",
        "pools.Mini.game_categories",
        "pools.Mini.operator_ids",
        "pools.Mini.country_codes",
        "pools.Mini.hold_wins_above_minor",
        "pools.Mini.colour",
        "pools.Mini.trigger",
        "pools.Mini.trigger.odds.one_in",
        "pools.Mini.trigger.odds.per_wager_minor",
        "pools.Mini.trigger.odds.per",
        "pools.major.display_name",
        "pools.major.tier",
        "pools.major.currency_code",
        "pools.major.contribution_ppm",
        "pools.major.reset_minor",
        "pools.major.trigger",
    }


@pytest.mark.parametrize(
    ("was", "becomes", "key"),
    [
        ("reset_minor = 10\n", "reset_minor = 60\n", "pools.mini.trigger.must_hit_by.ceiling_minor"),
        ("floor_minor = 10", "floor_minor = 61", "pools.mini.trigger.must_hit_by.floor_minor"),
        ("reset_minor = 10\n", "reset_minor = 10\nceiling_minor = 90\n", "pools.mini.ceiling_minor"),
        ("contribution_ppm = 1500", "contribution_ppm = 0", "pools.mini.contribution_ppm"),
        (
            "contribution_ppm = 1500",
            "contribution_ppm = 600000\nreserve_ppm = 400001",
            "pools.mini.reserve_ppm",
        ),
        ("must_hit_by = { floor", "lottery = { floor", "pools.mini.trigger.lottery"),
        ("must_hit_by = { floor", "must_drop_by = { floor", "pools.mini.trigger.must_drop_by.period_s"),
        ("must_hit_by = { floor", "game = { floor", "pools.mini.trigger.game.floor_minor"),
    ],
)
def test_what_contradicts_itself_is_refused(was: str, becomes: str, key: str) -> None:
    assert was in SMALL
    assert key in {problem.split(":")[0] for problem in problems_of(SMALL.replace(was, becomes))}


def test_odds_beyond_one_in_a_hundred_million_need_a_flag() -> None:
    [problem] = problems_of(FULL.replace("allow_long_odds = true\n", ""))
    assert problem.startswith("pools.grand.trigger.odds.one_in:")


@pytest.mark.parametrize("text", ["", "pools = 1", "[pools]", "= 3", "[pools.mini", "\udcff"])
def test_a_file_without_pools_or_without_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig):
        parse(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("trigger", [Odds(5, 6), MustHitBy(5, 6), GameSays()])
def test_the_canonical_text_says_everything_and_is_read_back(trigger: Odds) -> None:
    config = replace(*parse(FULL.encode()).values(), trigger=trigger)
    assert parse_canonical(canonical_text(config)) == config


def test_the_canonical_text_of_a_moment_is_read_back() -> None:
    config = replace(pool_config(), trigger=MustDropBy(86_400, datetime(2026, 1, 1, tzinfo=UTC)))
    assert parse_canonical(canonical_text(config)) == config


def test_the_canonical_text_is_sorted_and_leaves_out_what_is_default() -> None:
    text = canonical_text(*parse(SMALL.encode()).values())
    assert text == (
        '{"contribution_ppm":1500,"currency_code":"COIN","display_name":"Mini",'
        '"must_hit_by":{"ceiling_minor":60,"floor_minor":10},"reset_minor":10,"tier":"MINI"}'
    )
    assert config_digest(text).hex() == "d59700e25dbbaff5e0ee04590f38aaeb980ab92765b33425ee9fa6af76e7ba08"


def test_a_change_leaves_rates_odds_and_resets_to_the_running_cycle() -> None:
    [old] = parse(FULL.encode()).values()
    new = replace(
        old,
        display_name="New",
        tier="NEW",
        contribution_ppm=1,
        reserve_ppm=2,
        reset_minor=3,
        ceiling_minor=4,
        trigger=Odds(5, 6),
        min_wager_minor=7,
        game_ids=("other",),
    )
    assert running_config(new, old) == replace(
        old, display_name="New", min_wager_minor=7, game_ids=("other",)
    )


def test_every_seed_of_the_demo_is_funded_by_its_reserve_in_expectation() -> None:
    for pool_id, config in read_file(DEMO).items():
        if isinstance(config.trigger, Odds):
            expected_wager = config.trigger.one_in * config.trigger.per_wager_minor
        else:
            assert isinstance(config.trigger, MustHitBy)
            start = max(config.trigger.floor_minor, config.reset_minor)
            # Uniform in [start, ceiling]: on average it has to grow from the reset to the middle.
            middle = (start + config.trigger.ceiling_minor) * MICROS // 2
            expected_wager = (middle - config.reset_minor * MICROS) // config.contribution_ppm
        assert expected_wager * config.reserve_ppm >= config.reset_minor * MICROS, pool_id


def test_the_canonical_text_is_json() -> None:
    for config in read_file(DEMO).values():
        assert json.loads(canonical_text(config))["currency_code"] == "COIN"


def with_trigger(text: str) -> str:
    return SMALL[: SMALL.index("trigger = ")] + text + "\n"


def test_must_drop_by_is_read_with_its_period_and_first_deadline_in_utc() -> None:
    text = with_trigger(
        "trigger = { must_drop_by = { period_s = 86400, first_deadline = 2026-01-01T22:00:00+01:00 } }"
    )
    [config] = parse(text.encode()).values()
    assert config.trigger == MustDropBy(86_400, datetime(2026, 1, 1, 21, tzinfo=UTC))
    assert parse_canonical(canonical_text(config)) == config


@pytest.mark.parametrize(
    ("period_s", "first_deadline", "key"),
    [
        ("59", "2026-01-01T22:00:00Z", "period_s"),
        ("31622401", "2026-01-01T22:00:00Z", "period_s"),
        ("86400.0", "2026-01-01T22:00:00Z", "period_s"),
        ("86400", "2026-01-01T22:00:00", "first_deadline"),
        ("86400", "2026-01-01T22:00:00.5Z", "first_deadline"),
        ("86400", "1999-12-31T23:59:59Z", "first_deadline"),
        ("86400", "2026-01-01", "first_deadline"),
        ("86400", '"2026-01-01T22:00:00Z"', "first_deadline"),
    ],
)
def test_a_wrong_period_or_deadline_is_named(period_s: str, first_deadline: str, key: str) -> None:
    text = with_trigger(
        f"trigger = {{ must_drop_by = {{ period_s = {period_s}, first_deadline = {first_deadline} }} }}"
    )
    assert [problem.split(":")[0] for problem in problems_of(text)] == [
        f"pools.mini.trigger.must_drop_by.{key}"
    ]


def test_the_games_word_needs_nothing_but_its_name() -> None:
    [config] = parse(with_trigger("trigger = { game = {} }").encode()).values()
    assert config.trigger == GameSays()

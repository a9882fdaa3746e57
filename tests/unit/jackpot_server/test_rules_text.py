"""R13: funding, seed, ceiling, return to player, how prizes are decided, simultaneous triggers."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackpot_server.config import read_file
from jackpot_server.domain.pool import (
    GameSays,
    Lifecycle,
    MustDropBy,
    MustHitBy,
    Odds,
    PoolConfig,
    PoolView,
    Trigger,
    pool_view,
)
from jackpot_server.rules_text import pool_rules
from tests.support.engine import Engine, pool_config

DEMO = Path(__file__).parents[3] / "devstack/demo/jackpots.toml"
ALL_TRIGGERS: list[Trigger] = [
    Odds(5_000_000, 100),
    MustHitBy(2500, 10_000),
    MustDropBy(86_400, datetime(2026, 1, 1, 21, tzinfo=UTC)),
    GameSays(),
]


def view_of(config: PoolConfig, newest: PoolConfig | None = None, **state: object) -> PoolView:
    pool = replace(Engine({"pool": config}).pool("pool"), **state)  # type: ignore[arg-type]
    return pool_view(pool, newest or config, config, bytes(32))


def text_of(config: PoolConfig, **others: object) -> str:
    return "\n".join(pool_rules(view_of(config, **others)))  # type: ignore[arg-type]


def test_r13_the_rules_of_a_pool_with_odds() -> None:
    text = text_of(read_file(DEMO)["grand"])
    for said in (
        "Grand is a progressive jackpot of the tier GRAND, in COIN.",
        "Every wager paid in cash takes part in games of the category SLOTS.",
        "0.025 % of each such wager goes into the jackpot",
        "A further 0.024 % goes into a reserve",
        "starts again at 1,000.00 COIN",
        "The jackpot has no ceiling.",
        "A wager of 1.00 COIN wins with a chance of 1 in 5,000,000",
        "about 0.045 % of what is wagered returns",
        "0.025 % through the shares, about 0.02 % through the amounts that it starts with",
        "the first one wins the jackpot and the second one the jackpot as it has started again",
    ):
        assert said in text, said


def test_r13_the_rules_of_a_pool_with_a_hidden_amount() -> None:
    text = text_of(read_file(DEMO)["minor"])
    for said in (
        "from 25.00 COIN, or from where it starts if that is more, to 100.00 COIN is equally likely",
        "The jackpot does not grow above 100.00 COIN.",
        # It falls after 37,500.00 on average: 25.00 of that.
        "0.1 % through the shares, about 0.0666 % through the amounts",
    ):
        assert said in text, said


def test_r13_the_rules_of_a_pool_with_a_hidden_moment() -> None:
    config = pool_config(ALL_TRIGGERS[2], ceiling_minor=5000, overflow_limit_minor=200)
    deadline = datetime(2026, 3, 1, 21, tzinfo=UTC)
    text = text_of(config, cycle_deadline=deadline)
    for said in (
        "The jackpot falls once in each period of 1 day. Periods end at 2026-01-01 21:00:00 UTC and every 1 "
        "day",
        "If none comes by the end of the period, the first one after it wins.",
        "The jackpot does not grow above 50.00 EUR.",
        "Beyond 2.00 EUR the overflow runs into the reserve.",
        "The running jackpot is to fall by 2026-03-01 21:00:00 UTC.",
        "by the clock of its database",
    ):
        assert said in text, said


def test_r13_the_rules_of_a_pool_that_the_game_decides() -> None:
    text = text_of(pool_config(GameSays(), tier="GRAND"))
    assert "The game decides when the jackpot falls" in text
    assert "the spin for which it reports the tier GRAND wins" in text
    assert "repeat the draw" not in text


def test_r13_who_takes_part_is_said() -> None:
    config = pool_config(
        game_ids=("book", "fruit"),
        operator_ids=("casino",),
        provider_names=("studio",),
        country_codes=("DE", "MT"),
        game_categories=(1, 2),
        stake_kinds=(1, 2),
        min_wager_minor=20,
        max_contribution_minor=300,
        hold_wins_above_minor=100_000,
    )
    text = text_of(config)
    assert (
        "Every wager of at least 0.20 EUR paid in cash or paid with bonus money takes part in games of the "
        "category SLOTS and TABLE, only of these games: book, fruit; providers: studio; operators: casino; "
        "countries: DE, MT."
    ) in text
    assert "A wager whose share would be above 3.00 EUR takes no part." in text
    assert "A win above 1,000.00 EUR is checked by two people" in text


def test_r13_a_change_that_waits_for_the_next_jackpot_is_told_beside_what_holds_now() -> None:
    config = pool_config(Odds(1000, 100), contribution_ppm=1500, reset_minor=1000)
    newest = replace(config, contribution_ppm=2000)
    lines = pool_rules(view_of(config, newest))
    assert any(line.startswith("0.15 % of each such wager") for line in lines)
    [funding, returned] = [line for line in lines if line.startswith("From the next jackpot on")]
    assert "0.2 % of each such wager goes into the jackpot" in funding
    assert "1.2 % of what is wagered returns" in returned


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Lifecycle.PAUSED, "is paused"),
        (Lifecycle.SHADOW, "only being tried"),
        (Lifecycle.CLOSED, "is closed"),
        (Lifecycle.ACTIVE, ""),
    ],
)
def test_r13_the_state_is_said(state: Lifecycle, said: str) -> None:
    lines = pool_rules(view_of(pool_config(), state=state))
    assert (said in lines[-1]) == bool(said) or not said
    assert ("is paused" in "".join(lines)) == (state is Lifecycle.PAUSED)


@given(
    trigger=st.one_of(
        st.builds(Odds, st.integers(1, 10**12), st.integers(1, 10**12)),
        st.integers(1001, 10**9).flatmap(lambda c: st.builds(MustHitBy, st.integers(1, c), st.just(c))),
        st.builds(MustDropBy, st.integers(60, 366 * 86_400), st.just(datetime(2026, 1, 1, tzinfo=UTC))),
        st.just(GameSays()),
    ),
    contribution_ppm=st.integers(0, 1_000_000),
    ceiling=st.sampled_from([0, 5000]),
)
def test_every_configuration_has_rules_of_one_line_each(
    trigger: Trigger, contribution_ppm: int, ceiling: int
) -> None:
    lines = pool_rules(
        view_of(pool_config(trigger, contribution_ppm=contribution_ppm, ceiling_minor=ceiling))
    )
    assert len(lines) >= 9
    assert len(set(lines)) == len(lines)
    for line in lines:
        assert "\n" not in line
        assert line.endswith(".")

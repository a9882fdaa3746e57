"""What a plan says of a wanted configuration, and what it refuses."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from jackpot_server import plan_view
from jackpot_server.domain.crowding import crowded
from jackpot_server.domain.plan import Configured, Effect, FieldChange, Plan, plan
from jackpot_server.domain.pool import Lifecycle, MustHitBy, Odds, PoolConfig
from tests.support.engine import pool_config

GRAND = pool_config(Odds(200_000, 100))
ACTIVE = Lifecycle.ACTIVE


def known(config: PoolConfig, state: Lifecycle = ACTIVE) -> dict[str, Configured]:
    return {"grand": Configured(config, config, state)}


def fields_of(found: Plan) -> dict[str, FieldChange]:
    (change,) = found.changed
    return {each.field: each for each in change.fields}


def test_pr_08_each_field_says_from_when_on_it_counts() -> None:
    wanted = replace(
        GRAND, display_name="New", contribution_ppm=7, reset_minor=2000, trigger=Odds(9, 1), min_wager_minor=5
    )
    changes = fields_of(plan(known(GRAND), {"grand": wanted}))
    assert changes["display_name"] == FieldChange("display_name", "Pool", "New", Effect.NOW)
    assert {name: change.effect for name, change in changes.items()} == {
        "display_name": Effect.NOW,
        "min_wager_minor": Effect.NOW,
        "contribution_ppm": Effect.NEXT_CYCLE,
        "reset_minor": Effect.NEXT_CYCLE,
        "trigger": Effect.NEXT_CYCLE,
    }


def test_pr_08_what_goes_back_to_what_the_running_cycle_keeps_counts_at_once() -> None:
    changed = replace(GRAND, contribution_ppm=7)
    found = plan({"grand": Configured(changed, GRAND, ACTIVE)}, {"grand": GRAND})
    assert fields_of(found)["contribution_ppm"].effect is Effect.NOW


def test_new_equal_and_unnamed_pools_are_told_apart() -> None:
    there = known(GRAND) | {"other": Configured(GRAND, GRAND, ACTIVE)}
    found = plan(there, {"grand": GRAND, "mini": pool_config(MustHitBy(10, 100), reset_minor=5)})
    assert (found.unchanged, found.left_alone, found.changed) == (["grand"], ["other"], [])
    assert [change.pool_id for change in found.created] == ["mini"]
    assert found.problems == []


def test_every_problem_is_named_at_once() -> None:
    there = known(GRAND, Lifecycle.CLOSED) | {"other": Configured(GRAND, GRAND, ACTIVE)}
    wanted = {
        "grand": replace(GRAND, display_name="New"),
        "other": replace(GRAND, currency_code="USD"),
        **{f"many-{number:02}": GRAND for number in range(17)},
    }
    problems = plan(there, wanted).problems
    assert [problem.partition(":")[0] for problem in problems] == [
        "pools.grand",
        "pools.other.currency_code",
        "pools",
    ]


@pytest.mark.parametrize(("count", "is_crowded"), [(16, False), (17, True)])
def test_one_spin_takes_part_in_at_most_sixteen_pools(count: int, is_crowded: bool) -> None:
    pools = {f"pool-{number:02}": GRAND for number in range(count)}
    assert crowded(pools) == (sorted(pools) if is_crowded else [])


def test_pools_that_no_spin_has_in_common_are_not_a_crowd() -> None:
    games = {f"game-{number:02}": replace(GRAND, game_ids=(f"game-{number}",)) for number in range(40)}
    assert crowded(games) == []
    everybody = {f"all-{number:02}": GRAND for number in range(16)}
    assert crowded(everybody) == []
    assert len(crowded(games | everybody)) == 17


def test_a_crowd_is_found_where_choices_meet() -> None:
    """Neither operators nor games alone part them: only who names both meets."""
    of_game = {f"g{number}": replace(GRAND, game_ids=("a", f"x{number}")) for number in range(9)}
    of_operator = {f"o{number}": replace(GRAND, operator_ids=("b", f"y{number}")) for number in range(8)}
    assert crowded(of_game | of_operator) == sorted(of_game | of_operator)
    apart = {name: replace(config, currency_code="USD") for name, config in of_game.items()}
    assert crowded(apart | of_operator) == []


def test_a_plan_is_shown_with_values_as_the_file_has_them() -> None:
    wanted = {"grand": replace(GRAND, trigger=MustHitBy(2_000, 5_000_000), game_categories=(1, 2))}
    console = Console(record=True, width=160, color_system=None)
    found = plan(known(GRAND), wanted)
    plan_view.show(found, console)
    said = console.export_text()
    assert "odds one_in 200,000, per_wager_minor 100" in said
    assert "must_hit_by floor_minor 2,000, ceiling_minor 5,000,000" in said
    assert "SLOTS, TABLE" in said
    assert "with the next cycle" in said
    told = json.loads(plan_view.to_json(found, is_done=False))
    assert told["applied"] is False
    assert told["changed"][0]["fields"][0] == {
        "field": "trigger",
        "before": {"odds": {"one_in": 200_000, "per_wager_minor": 100}},
        "after": {"must_hit_by": {"floor_minor": 2_000, "ceiling_minor": 5_000_000}},
        "takes_effect": "with the next cycle",
    }

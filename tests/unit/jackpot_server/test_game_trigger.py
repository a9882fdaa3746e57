"""The `game` trigger: a pool falls when the game names its tier, and only then."""

from jackpot_server.domain.facts import Proof, Recorded
from jackpot_server.domain.pool import GameSays, Lifecycle, Odds
from tests.support.engine import ALWAYS, Engine, pool_config, spin


def wins_of(engine: Engine, number: int, *tiers: str) -> list[str]:
    [answer] = engine.submit(spin(number, triggered_tiers=tiers))
    assert isinstance(answer, Recorded)
    return [win.pool_id for win in answer.wins]


def test_a_pool_falls_when_the_game_names_its_tier_with_this_spins_share_in_it() -> None:
    engine = Engine({"grand": pool_config(GameSays(), tier="GRAND")})
    assert wins_of(engine, 1) == []
    assert wins_of(engine, 2, "MINI") == []
    assert wins_of(engine, 3, "GRAND", "MINI") == ["grand"]
    [win] = engine.wins.values()
    assert win.amount_minor == 1003
    assert win.proof == Proof()
    assert engine.pool("grand").cycle == 2


def test_a_tier_without_a_pool_of_that_trigger_awards_nothing_and_is_noted() -> None:
    engine = Engine({"major": pool_config(Odds(10**12, 10**12), tier="MAJOR")})
    assert wins_of(engine, 1, "MAJOR") == []
    assert [command.spin_id.int for command in engine.decisions[-1].unanswered_tiers] == [1]
    assert wins_of(engine, 2) == []
    assert engine.decisions[-1].unanswered_tiers == []


def test_a_tier_that_is_won_is_not_noted() -> None:
    engine = Engine({"major": pool_config(GameSays(), tier="MAJOR")})
    assert wins_of(engine, 1, "MAJOR") == ["major"]
    assert engine.decisions[-1].unanswered_tiers == []


def test_all_pools_of_the_tier_that_the_spin_takes_part_in_fall_and_no_other() -> None:
    engine = Engine(
        {
            "one": pool_config(GameSays(), tier="MINI"),
            "two": pool_config(GameSays(), tier="MINI"),
            "elsewhere": pool_config(GameSays(), tier="MINI", operator_ids=("other",)),
            "paused": pool_config(GameSays(), tier="MINI"),
            "odds": pool_config(ALWAYS, tier="MINI"),
            "larger": pool_config(GameSays(), tier="MINI", min_wager_minor=101),
        }
    )
    engine.set_state("paused", Lifecycle.PAUSED)
    assert wins_of(engine, 1, "MINI") == ["one", "two", "odds"]

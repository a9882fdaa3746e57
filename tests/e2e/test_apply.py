"""`python -m jackpot_server apply`: a plan to look at, then the same plan carried out."""

import json
from pathlib import Path

from tests.support.command_line import run
from tests.support.stack import POOLS


async def apply(dsn: str, file: Path, *how: str) -> tuple[int, str]:
    settings = {"JACKPOT_MIGRATE_DSN": dsn, "JACKPOT_ROOT_KEY": "ab" * 32, "JACKPOT_ENVIRONMENT": "test"}
    return await run("jackpot_server", "apply", str(file), *how, **settings)


async def test_a_plan_is_shown_then_done_and_its_status_says_what_there_is_to_do(
    jackpots_dsn: str, tmp_path: Path
) -> None:
    file = tmp_path / "jackpots.toml"
    file.write_text(POOLS)
    status, said = await apply(jackpots_dsn, file, "--dry-run")
    assert status == 2, said
    assert "+ mini" in said
    status, said = await apply(jackpots_dsn, file)
    assert status == 0, said
    assert "must_hit_by floor_minor 10, ceiling_minor 100" in said
    status, said = await apply(jackpots_dsn, file, "--dry-run")
    assert (status, said) == (0, "unchanged: mini, lucky, quiet\n")

    file.write_text(POOLS.replace("one_in = 25,", "one_in = 30,"))
    status, said = await apply(jackpots_dsn, file, "--dry-run", "--json")
    told = json.loads(said)
    assert (status, told["applied"]) == (2, False)
    assert [change["pool"] for change in told["changed"]] == ["lucky"]
    assert told["changed"][0]["fields"][0]["takes_effect"] == "with the next cycle"

    file.write_text(
        POOLS.replace(", ceiling_minor = 100 } }", " } }").replace("reset_minor = 1000", "reset_minor = 0")
    )
    status, said = await apply(jackpots_dsn, file)
    assert status == 1
    assert "pools.mini.trigger.must_hit_by.ceiling_minor" in said
    assert "pools.quiet.reset_minor" in said

"""Both servers' audits as a person runs them, each database the other's witness."""

from pathlib import Path

from tests.support.command_line import run
from tests.support.stack import Stack


async def audit_spins(stack: Stack, heads: Path) -> tuple[int, str]:
    """`spin_server audit`, which writes the heads that it has seen."""
    return await run("spin_server", "audit", "--heads", str(heads), SPIN_MIGRATE_DSN=stack.spins_dsn)


async def audit_jackpots(stack: Stack, *more: str) -> tuple[int, str]:
    """`jackpot_server audit`, every draw repeated."""
    settings = {"JACKPOT_MIGRATE_DSN": stack.jackpots_dsn, "JACKPOT_ROOT_KEY": stack.template.root_key}
    return await run("jackpot_server", "audit", "--draws", *more, **settings)


async def audit_findings(stack: Stack, folder: Path) -> list[str]:
    """What the two say that is not clean."""
    heads = folder / "heads.jsonl"
    of_spins = await audit_spins(stack, heads)
    of_jackpots = await audit_jackpots(stack, "--witness", str(heads))
    return [said for status, said in (of_spins, of_jackpots) if status]

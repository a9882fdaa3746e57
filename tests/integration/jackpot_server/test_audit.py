"""PR-20, PR-21, PR-23: an audit derives everything again; what was changed by hand is found, and where."""

import asyncio
import json
import logging
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from jackpot_server.apply import apply
from jackpot_server.audit.audit import audit
from jackpot_server.domain.commands import Outcome, Void
from jackpot_server.domain.evidence import AuditHead
from jackpot_server.domain.pool import MustHitBy
from service_kit.audit_report import Audit
from tests.integration.jackpot_server import tampering
from tests.integration.jackpot_server.bench import OFTEN, ROOT_KEYS, Bench, new_spin, open_bench
from tests.support.command_line import run
from tests.support.engine import NEVER, credited, not_credited, pool_config

log = logging.getLogger(__name__)

TAMPERINGS = int(os.environ.get("TAMPERINGS") or 60)
CONTRIBUTIONS = int(os.environ.get("AUDITED") or 2_000)
POOLS = {
    "mini": pool_config(
        OFTEN, contribution_ppm=15_555, reserve_ppm=7_777, reset_minor=100, tier="MINI", game_ids=("game",)
    ),
    "amount": pool_config(MustHitBy(120, 160), contribution_ppm=9_999, reset_minor=100, tier="AMOUNT"),
    "grand": pool_config(NEVER, contribution_ppm=333, reset_minor=5000, tier="GRAND"),
}
NEVERMORE = {**POOLS, "grand": pool_config(NEVER, contribution_ppm=444, reset_minor=5000, tier="GRAND")}


@pytest.fixture
async def history(jackpots_dsn: str) -> AsyncIterator[Bench]:
    """A database in which everything has happened: wins, words of wallets, voids, a change of the pools."""
    async with open_bench(jackpots_dsn, POOLS) as bench:
        await make_history(bench, 12)
        yield bench


async def make_history(bench: Bench, rounds: int, size: int = 25) -> None:
    for number in range(rounds):
        if number == rounds // 2:
            await apply(bench.look, NEVERMORE, ROOT_KEYS, actor="test", reason="test")
        spins = [new_spin(wager_minor=100 + n) for n in range(size)]
        answers = await bench.record(*spins)
        wins = [win for answer in answers for win in answer.wins]
        said = [
            credited(win) if n % 3 else not_credited(win, Outcome.FAILED) for n, win in enumerate(wins[:-1])
        ]
        voids = [Void(spins[n].spin_id, "operator", (), "") for n in (1, 5)] + [
            Void(new_spin().spin_id, "operator", (), "")
        ]
        await asyncio.gather(*map(bench.committer.acknowledge, said), *map(bench.committer.void, voids))


async def audited(look: asyncpg.Connection, witnessed: list[AuditHead] | None = None) -> Audit:
    return await audit(look, root_keys=ROOT_KEYS, witnessed=witnessed or [])


async def test_pr_23_a_database_that_nobody_changed_audits_clean(history: Bench) -> None:
    async with history.look.transaction():
        done = await audited(history.look)
    assert done.findings.found == []
    assert done.count == await history.count("contributions")
    examined = done.findings.examined
    assert len([check for check, count in examined.items() if count]) >= 12, examined
    assert examined["every draw decides as it did"] > done.count


async def test_pr_21_whatever_somebody_changes_is_found_and_located(history: Bench) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    log.warning("play it again with SEED=%d TAMPERINGS=%d", seed, TAMPERINGS)
    chance = random.Random(seed)
    look = history.look
    rows = await look.fetch("SELECT chain, sequence, sha256 FROM batches")
    witnessed = [AuditHead(*row) for row in rows]
    kinds: set[str] = set()
    for _ in range(TAMPERINGS):
        tampered, done = await tampered_once(look, chance, witnessed)
        kinds.add(tampered.what.split()[0])
        places = [f"{finding.where} {finding.message}" for finding in done.findings.found]
        assert places, f"not found: {tampered.what}"
        assert any(place in found for place in tampered.places for found in places), (
            f"not located: {tampered.what}, {tampered.places}: {places[:5]}"
        )
    async with look.transaction():
        assert (await audited(look, witnessed)).is_clean, "the test has undone what it did"


async def tampered_once(
    look: asyncpg.Connection, chance: random.Random, witnessed: list[AuditHead]
) -> tuple[tampering.Tampering, Audit]:
    """One change that the database itself does not refuse, audited and undone."""
    while True:
        undone = look.transaction()
        await undone.start()
        try:
            await look.execute("SET LOCAL session_replication_role = replica")
            tampered = await chance.choice(tampering.KINDS)(look, chance)
            return tampered, await audited(look, witnessed)
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError):
            continue
        finally:
            await undone.rollback()


async def test_pr_23_a_large_database_audits_clean(jackpots_dsn: str) -> None:
    """AUDITED=1000000 for a million; the rate is in the log."""
    async with open_bench(jackpots_dsn, POOLS) as bench:
        await make_history(bench, 4)
        for _ in range(0, CONTRIBUTIONS, 500):
            await bench.record(*(new_spin(game_id="rare") for _ in range(500)))
        async with bench.look.transaction(isolation="repeatable_read", readonly=True):
            for keys in (None, ROOT_KEYS):
                done = await audit(bench.look, root_keys=keys)
                assert done.findings.found == []
                log.warning(
                    "%s contributions audited in %.1f s, %.0f/s, draws repeated: %s",
                    done.count, done.seconds, done.rate, keys is not None,
                )  # fmt: skip
        assert done.count > CONTRIBUTIONS


async def test_pr_21_a_cut_tail_is_found_by_what_another_database_has_seen(history: Bench) -> None:
    look = history.look
    head = await look.fetchrow("SELECT chain, sequence, sha256 FROM audit_chains ORDER BY sequence DESC")
    assert head is not None
    later = AuditHead(head["chain"], head["sequence"] + 1, bytes(32))
    async with look.transaction():
        done = await audited(look, [AuditHead(*head), later])
    [finding] = done.findings.found
    assert finding.where == f"chain {head['chain']} sequence {head['sequence'] + 1}"


async def test_pr_23_the_audit_goes_on_while_the_server_does(jackpots_dsn: str) -> None:
    async with open_bench(jackpots_dsn, POOLS) as bench, open_bench(jackpots_dsn, POOLS) as other:
        await make_history(bench, 4)
        going_on = asyncio.create_task(make_history(other, 6))
        clean = []
        while not going_on.done():
            async with bench.look.transaction(isolation="repeatable_read", readonly=True):
                clean.append((await audited(bench.look)).findings.found)
        await going_on
        assert clean
        assert not any(clean)


async def test_pr_23_the_command_says_what_it_found_by_its_status(jackpots_dsn: str, tmp_path: Path) -> None:
    async with open_bench(jackpots_dsn, POOLS) as bench:
        await make_history(bench, 2)
    environment = {"JACKPOT_DATABASE_DSN": jackpots_dsn, "JACKPOT_ROOT_KEY": ROOT_KEYS.newest.secret.hex()}
    status, said = await run("jackpot_server", "audit", "--draws", **environment)
    assert status == 0, said
    assert "every record follows on the one before" in said
    assert "/s" in said
    witness = tmp_path / "heads.jsonl"
    witness.write_text(json.dumps({"chain": 1, "sequence": 10**6, "sha256": "00" * 32}) + "\n")
    status, said = await run("jackpot_server", "audit", "--json", "--witness", str(witness), **environment)
    assert status == 1
    [finding] = json.loads(said[said.index("{") :])["findings"]
    assert finding["where"] == "chain 1 sequence 1000000"
    witness.write_text("nonsense\n")
    status, said = await run("jackpot_server", "audit", "--witness", str(witness), **environment)
    assert (status, said.strip()) == (2, "line 1 is not an audit head")

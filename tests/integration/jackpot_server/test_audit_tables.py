"""PR-20, PR-21, PR-23: an audit looks at every table of the evidence, and at what no single batch tells."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from jackpot_server.audit.audit import audit
from jackpot_server.domain.evidence import POOL_STATES, TABLES
from service_kit.audit_report import Audit
from tests.integration.jackpot_server.bench import ROOT_KEYS, findings, new_spin, open_bench
from tests.integration.jackpot_server.history import make_history
from tests.support.command_line import run
from tests.support.engine import ALWAYS, credited, pool_config

# What was done with all rights, and words of where it is found.
TAMPERINGS = {
    "a commitment without a batch": (
        "INSERT INTO seed_commitments (pool_key, cycle, key_id, commitment, commit_time)"
        " SELECT pool_key, cycle + 1000, key_id, commitment, commit_time FROM seed_commitments LIMIT 1",
        "seed_commitments pool_key",
    ),
    "a configuration without a batch": (
        "INSERT INTO pool_configs (pool_key, version, config, config_sha256, actor, reason, create_time)"
        " SELECT pool_key, version + 50, config, config_sha256, actor, reason, create_time FROM pool_configs"
        " LIMIT 1",
        "pool_configs",
    ),
    "a cycle that ended without a batch": (
        "INSERT INTO unwon_cycles (pool_key, cycle, config_version, cycle_start_micros, cycle_start_time,"
        " end_time) SELECT pool_key, cycle, 1, 0, now(), now() FROM pools WHERE pool_id = 'grand'",
        "unwon_cycles pool_key",
    ),
    "a counter is gone": ("DELETE FROM operators WHERE operator_id = 'winner'", "operator winner"),
    "a person's name is another one": (
        "UPDATE admin_events SET approver = 'mallory' WHERE approver = 'bob' AND event_number ="
        " (SELECT max(event_number) FROM admin_events WHERE approver = 'bob')",
        "admin_events request_id",
    ),
    "what people did is in another order": (
        "ALTER TABLE admin_events ALTER COLUMN event_number DROP IDENTITY;"
        " UPDATE admin_events SET event_number = -event_number",
        "admin_events event_number",
    ),
    "the reason of an ended cycle is another one": (
        "UPDATE unwon_cycles SET reason = 'x'",
        "unwon_cycles pool",
    ),
    "a void says something else": (
        "UPDATE voids SET credited_pools = 'grand'"
        " WHERE spin_id = (SELECT min(spin_id::text)::uuid FROM voids)",
        "voids spin_id",
    ),
    "a pool is of another currency": (
        "UPDATE pools SET currency_code = 'EUR' WHERE pool_id = 'grand'",
        "pools pool_key",
    ),
    "a batch is no record any more": (
        "WITH last AS (SELECT b.* FROM batches b JOIN audit_chains c USING (chain, sequence)"
        "               WHERE c.sequence > 1 LIMIT 1),"
        " gone AS (UPDATE batches b SET chain = NULL, sequence = NULL, digest = NULL, sha256 = NULL,"
        "          pool_states = NULL, row_marks = NULL FROM last WHERE b.batch_id = last.batch_id)"
        " UPDATE audit_chains c SET sequence = p.sequence, sha256 = p.sha256"
        "   FROM last JOIN batches p ON p.chain = last.chain AND p.sequence = last.sequence - 1"
        "  WHERE c.chain = last.chain",
        "it is no record of a chain",
    ),
    "the trail begins later": (
        "UPDATE audit_chains SET first_batch_id = first_batch_id + 1 WHERE chain = 1",
        "chain 1",
    ),
}  # fmt: skip


@pytest.fixture
async def history(jackpots_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """All triggers, payments, holds, voids and what people change; a connection as the superuser."""
    await make_history(jackpots_dsn)
    look = await asyncpg.connect(jackpots_dsn)
    try:
        yield look
    finally:
        await look.close()


async def audited(look: asyncpg.Connection) -> Audit:
    async with look.transaction():
        return await audit(look, root_keys=ROOT_KEYS)


async def test_pr_23_every_kind_of_row_is_there_and_clean_and_every_check_examined_something(
    history: asyncpg.Connection,
) -> None:
    done = await audited(history)
    assert done.findings.found == []
    assert [check for check, count in done.findings.examined.items() if not count] == [
        "every record that was witnessed is there"
    ]
    for table in TABLES:
        assert await history.fetchval(f"SELECT count(*) FROM {table.name}"), table.name


async def test_pr_21_no_column_of_the_evidence_is_left_out(history: asyncpg.Connection) -> None:
    """A column that is neither digested nor derived could be changed unseen."""
    derived = {
        "pools": {
            *POOL_STATES.columns, "update_time", "last_win_time", "cycle_start_time", "cycle_deadline",
        },
        # Where they stand among each other is the order of their batches.
        "admin_events": {"event_number"},
    }  # fmt: skip
    for table in TABLES:
        if table is not POOL_STATES:
            columns = await history.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"
                " AND NOT attisdropped",
                table.name,
            )
            known = {*table.columns, table.batch_column, table.time_column, *derived.get(table.name, ())}
            assert {row["attname"] for row in columns} <= known, table.name


async def test_pr_21_what_no_batch_tells_is_found_too(history: asyncpg.Connection) -> None:
    for what, (sql, place) in TAMPERINGS.items():
        undone = history.transaction()
        await undone.start()
        try:
            await history.execute("SET LOCAL session_replication_role = replica")
            await history.execute(sql)
            done = await audited(history)
        finally:
            await undone.rollback()
        places = [f"{finding.where} {finding.message}" for finding in done.findings.found]
        assert any(place in found for found in places), f"{what}: {places[:5]}"
    assert (await audited(history)).is_clean, "the test has undone what it did"


async def test_pr_23_replicas_whose_events_overtook_one_another_audit_clean(jackpots_dsn: str) -> None:
    """Events are numbered under the operator's lock, batches under the pools': their orders may differ."""
    pools = {
        name: pool_config(ALWAYS, reset_minor=100, tier=name.upper(), game_ids=(name,))
        for name in ("one", "two")
    }
    async with open_bench(jackpots_dsn, pools) as one, open_bench(jackpots_dsn, pools) as two:
        overtaken = 0
        for _ in range(200):
            (win,) = await one.wins(1, game_id="one")
            await asyncio.gather(
                one.committer.acknowledge(credited(win)), two.record(new_spin(game_id="two"))
            )
            overtaken = await one.look.fetchval(OVERTAKEN)
            if overtaken:
                break
        assert overtaken
        assert await findings(one.look) == []


OVERTAKEN = """
SELECT count(*)
  FROM (SELECT batch_id < lag(batch_id) OVER (PARTITION BY operator_id ORDER BY sequence) AS is_so
          FROM win_events) e
 WHERE is_so"""


async def test_pr_23_a_database_that_cannot_be_read_is_no_finding(jackpots_dsn: str) -> None:
    status, said = await run("jackpot_server", "audit", JACKPOT_DATABASE_DSN=jackpots_dsn + "_gone")
    assert status == 2, said

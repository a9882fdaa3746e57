"""`apply`: pools come to be, change and stay, all of a file or nothing."""

import asyncio
import json
from dataclasses import replace

import asyncpg
import pytest

from jackpot_server.apply import apply
from jackpot_server.catalog_store import load_catalog, read_commitments
from jackpot_server.config import InvalidConfig
from jackpot_server.domain.draw import commitment
from jackpot_server.domain.pool import PoolConfig, canonical_text, config_digest
from service_kit.database import connect
from tests.integration.jackpot_server.bench import POOLS, ROOT_KEYS, findings
from tests.support.engine import pool_config


async def apply_all(look: asyncpg.Connection, pools: dict[str, PoolConfig]) -> dict[str, list[str]]:
    """The pools by what happened to them."""
    plan = await apply(look, pools, ROOT_KEYS, actor="somebody", reason="because")
    outcome = {
        "created": [change.pool_id for change in plan.created],
        "changed": [change.pool_id for change in plan.changed],
        "unchanged": plan.unchanged,
        "left alone": plan.left_alone,
    }
    return {verb: pool_ids for verb, pool_ids in outcome.items() if pool_ids}


async def test_a_new_pool_opens_at_its_reset_funded_by_the_house(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        applied = await apply_all(look, dict(POOLS))
        assert applied == {"created": ["mini", "grand"]}
        pools = await look.fetch("SELECT * FROM pools ORDER BY pool_key")
        assert [
            (pool["pool_id"], pool["current_micros"], pool["state"], pool["cycle"]) for pool in pools
        ] == [
            ("mini", 100_000_000, 1, 1),
            ("grand", 5_000_000_000, 1, 1),
        ]
        entries = await look.fetch(
            "SELECT account, kind, pool_key, amount_micros FROM entries ORDER BY batch_id, entry_number"
        )
        assert [tuple(entry) for entry in entries] == [
            (2, 1, 1, 100_000_000),
            (5, 1, None, -5_100_000_000),
            (2, 1, 2, 5_000_000_000),
        ]
        assert await findings(look) == []
    finally:
        await look.close()


async def test_pr_08_what_is_applied_is_in_the_trail_of_changes(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        await apply_all(look, dict(POOLS))
        other = {**POOLS, "grand": replace(POOLS["grand"], contribution_ppm=444)}
        await apply(look, other, ROOT_KEYS, actor="alice", approver="bob", reason="campaign")
        await apply(look, other, ROOT_KEYS, actor="alice", approver="bob", reason="the same again")
        events = await look.fetch("SELECT * FROM admin_events ORDER BY event_number")
        assert [(event["resource"], event["actor"]) for event in events] == [
            ("pools/mini", "somebody"), ("pools/grand", "somebody"), ("pools/grand", "alice"),
        ]  # fmt: skip
        last = events[-1]
        assert (last["action"], last["approver"], last["reason"]) == ("apply", "bob", "campaign")
        assert json.loads(last["before"]) == {"contribution_ppm": 333}
        assert json.loads(last["after"]) == {
            "contribution_ppm": {"value": 444, "takes_effect": "with the next cycle"}
        }
    finally:
        await look.close()


async def test_the_first_cycles_are_committed_with_the_pool(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        await apply_all(look, dict(POOLS))
        stored = await read_commitments(look)
        assert [each[:3] for each in stored] == [
            (key, cycle, "root-1") for key in (1, 2) for cycle in range(1, 18)
        ]
        assert stored[0].sha256 == commitment(ROOT_KEYS.newest.seed("mini", 1))
        assert stored[-1].sha256 == commitment(ROOT_KEYS.newest.seed("grand", 17))
    finally:
        await look.close()


async def test_the_same_again_does_nothing(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        await apply_all(look, dict(POOLS))
        version = await look.fetchval("SELECT version FROM catalog")
        assert await apply_all(look, dict(POOLS)) == {"unchanged": ["mini", "grand"]}
        assert await look.fetchval("SELECT version FROM catalog") == version
    finally:
        await look.close()


async def test_a_change_is_a_new_version_with_its_author_and_others_are_left_alone(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        await apply_all(look, dict(POOLS))
        changed = replace(POOLS["grand"], display_name="New")
        assert await apply_all(look, {"grand": changed}) == {"changed": ["grand"], "left alone": ["mini"]}
        row = await look.fetchrow("SELECT * FROM pool_configs WHERE version = 2")
        assert row is not None
        text = canonical_text(changed)
        assert (row["config"], row["config_sha256"]) == (text, config_digest(text))
        assert (row["actor"], row["reason"]) == ("somebody", "because")
        catalog = await load_catalog(look)
        assert catalog.newest == {1: 1, 2: 2}
        assert catalog.configs[2, 1].config == POOLS["grand"]
        assert catalog.configs[2, 2].config == changed
        assert catalog.version == 3
    finally:
        await look.close()


async def test_a_currency_cannot_be_changed_and_then_nothing_is(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        await apply_all(look, dict(POOLS))
        wanted = {"new": pool_config(), "grand": replace(POOLS["grand"], currency_code="USD")}
        with pytest.raises(InvalidConfig, match=r"pools\.grand\.currency_code"):
            await apply_all(look, wanted)
        assert await look.fetchval("SELECT count(*) FROM pools") == 2
    finally:
        await look.close()


async def test_a_dry_run_says_the_same_and_does_nothing(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        for dry_run, count in ((True, 0), (False, 2)):
            plan = await apply(look, POOLS, ROOT_KEYS, actor="a", reason="b", dry_run=dry_run)
            assert [change.pool_id for change in plan.created] == ["mini", "grand"]
            assert await look.fetchval("SELECT count(*) FROM pools") == count
    finally:
        await look.close()


async def test_seventeen_pools_for_one_spin_are_refused(jackpots_dsn: str) -> None:
    look = await connect(jackpots_dsn, application_name="test")
    try:
        await apply_all(look, {f"pool-{number}": pool_config() for number in range(16)})
        with pytest.raises(InvalidConfig, match="17 pools at once"):
            await apply_all(look, {"one-more": pool_config()})
        await apply_all(look, {"one-more": replace(pool_config(), currency_code="USD")})
    finally:
        await look.close()


async def test_several_first_starts_at_once_create_each_pool_once(jackpots_dsn: str) -> None:
    looks = [await connect(jackpots_dsn, application_name="test") for _ in range(4)]
    try:
        applied = await asyncio.gather(*(apply_all(look, dict(POOLS)) for look in looks))
        assert sorted(len(each.get("created", [])) for each in applied) == [0, 0, 0, 2]
        assert await findings(looks[0]) == []
    finally:
        for look in looks:
            await look.close()

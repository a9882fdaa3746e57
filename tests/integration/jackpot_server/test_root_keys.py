"""PR-13: rotation of root keys, a lost key, a database restored from a backup."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from google.protobuf import json_format
from pydantic import SecretStr

from jackpot_server import verify_draw
from jackpot_server.domain.draw import cycle_seed
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.errors import StartRefused
from tests.integration.jackpot_server.serving import ROOT_KEY, Client, apply_pools, pool, serving

NEW_KEY = "77" * 32
SURE = """
[pools.sure]
display_name = "Sure"
tier = "SURE"
currency_code = "COIN"
contribution_ppm = 1000
reset_minor = 50
trigger = { odds = { one_in = 1, per_wager_minor = 1 } }
"""
MYSTERY = """
[pools.mystery]
display_name = "Mystery"
tier = "MYSTERY"
currency_code = "COIN"
contribution_ppm = 10000
reset_minor = 100
trigger = { must_hit_by = { floor_minor = 105, ceiling_minor = 120 } }
"""
ROTATED: dict[str, Any] = {
    "root_key": SecretStr(NEW_KEY),
    "root_key_id": "root-2",
    "old_root_keys": SecretStr(f"root-1={ROOT_KEY}"),
}
ONLY_NEW = ROTATED | {"old_root_keys": SecretStr("")}


def command(dsn: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.environ["PATH"],
        "JACKPOT_DATABASE_DSN": dsn,
        "JACKPOT_ROOT_KEY": ROOT_KEY,
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "jackpot_server", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


NEW = {"JACKPOT_ROOT_KEY": NEW_KEY, "JACKPOT_ROOT_KEY_ID": "root-2"}
BOTH = NEW | {"JACKPOT_OLD_ROOT_KEYS": f"root-1={ROOT_KEY}"}


async def cycle_won(client: Client) -> tuple[int, str]:
    """The cycle that a spin wins of the pool which falls to each, and the spin."""
    recorded = await client.record()
    [win] = [win for win in recorded.contribution.wins if win.pool == "pools/sure"]
    return win.cycle, win.spin_id


async def draw_of(client: Client, pool_id: str, spin_id: str) -> pb.Draw:
    name = f"pools/{pool_id}/draws/{spin_id}"
    draw: pb.Draw = (await client.jackpots.GetDraw(pb.GetDrawRequest(name=name))).draw
    return draw


def is_proved(draw: pb.Draw, folder: Path) -> bool:
    file = folder / "draw.json"
    file.write_text(json.dumps(json_format.MessageToDict(pb.GetDrawResponse(draw=draw))))
    return verify_draw.check(str(file), "", io.StringIO()) == 0


async def test_pr_13_a_new_key_begins_with_the_first_cycle_without_a_commitment(
    jackpots_dsn: str, tmp_path: Path
) -> None:
    async with serving(jackpots_dsn, pools=SURE) as client:
        assert (await cycle_won(client))[0] == 1
    # Committed are cycles up to 18 = 2 + 16.
    async with serving(jackpots_dsn, pools=None, **ROTATED) as client:
        spins = [await cycle_won(client) for _ in range(20)]
        draws = [await draw_of(client, "sure", spin_id) for _, spin_id in spins]
    assert [cycle for cycle, _ in spins] == list(range(2, 22))
    assert [draw.key_id for draw in draws] == ["root-1"] * 17 + ["root-2"] * 3
    assert draws[0].seed == cycle_seed(bytes.fromhex(ROOT_KEY), "sure", 2)
    assert draws[-1].seed == cycle_seed(bytes.fromhex(NEW_KEY), "sure", 21)
    assert all(is_proved(draw, tmp_path) for draw in draws)
    # Now no open cycle needs the old key; without it, the draws of its cycles keep their values only.
    async with serving(jackpots_dsn, pools=None, **ONLY_NEW) as client:
        assert (await cycle_won(client))[0] == 22
        assert (await draw_of(client, "sure", spins[0][1])).seed == b""
        assert (await draw_of(client, "sure", spins[-1][1])).seed == draws[-1].seed


async def test_pr_13_the_old_key_stays_until_its_committed_cycles_are_closed(jackpots_dsn: str) -> None:
    await apply_pools(jackpots_dsn, SURE)
    with pytest.raises(StartRefused, match="root-1"):
        async with serving(jackpots_dsn, pools=None, **ONLY_NEW):
            pass


async def test_pr_13_two_replicas_rotate_one_after_the_other(jackpots_dsn: str) -> None:
    both_keys: dict[str, Any] = {
        "root_key": SecretStr(ROOT_KEY),
        "root_key_id": "root-1",
        "old_root_keys": SecretStr(f"root-2={NEW_KEY}"),
    }
    async with (
        serving(jackpots_dsn, pools=SURE, **both_keys) as first,  # has the new key, commits with the old one
        serving(jackpots_dsn, pools=None, **ROTATED) as second,
    ):
        cycles = [(await cycle_won(client))[0] for _ in range(25) for client in (first, second)]
    assert cycles == list(range(1, 51))


async def test_pr_13_after_a_restore_every_pool_goes_on_under_a_new_key(
    jackpots_dsn: str, tmp_path: Path
) -> None:
    async with serving(jackpots_dsn, pools=SURE + MYSTERY) as client:
        _, won_before = await cycle_won(client)
        before = await client.pool("mystery")
    ran = command(
        jackpots_dsn, "new-cycles", "--reason", "restored from Monday's backup", "--actor", "me", **NEW
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "sure: cycle 2 has ended, cycle 19 has begun",
        "mystery: cycle 1 has ended, cycle 18 has begun",
    ]
    again = command(jackpots_dsn, "new-cycles", "--reason", "again", **NEW)
    assert again.returncode == 1
    assert "'root-2' has committed to cycles of this database before" in again.stderr
    # The old key is not needed any more, and no seed of it that was committed is ever used.
    async with serving(jackpots_dsn, pools=None, **ONLY_NEW) as client:
        after = await client.pool("mystery")
        assert (after.balance_micros, after.reserve_micros) == (before.balance_micros, before.reserve_micros)
        assert after.version == before.version + 1
        cycle, spin_id = await cycle_won(client)
        assert cycle == 19
        draw = await draw_of(client, "sure", spin_id)
        assert draw.key_id == "root-2"
        assert is_proved(draw, tmp_path)
        assert (await draw_of(client, "mystery", won_before)).seed == b""
    # With the old key too, the cycle that ended without a win is open to everybody.
    async with serving(jackpots_dsn, pools=None, **ROTATED) as client:
        draw = await draw_of(client, "mystery", won_before)
        assert draw.hidden > draw.reached > draw.cycle_start_micros > 0
        assert is_proved(draw, tmp_path)
    connection = await asyncpg.connect(jackpots_dsn)
    try:
        rows = await connection.fetch(
            "SELECT u.cycle, u.actor, u.reason FROM unwon_cycles u JOIN pools p USING (pool_key)"
            " WHERE p.pool_id = 'sure' ORDER BY u.cycle"
        )
        assert await connection.fetchval("SELECT sum(amount_micros) FROM entries") == 0
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [
        (cycle, "me", "restored from Monday's backup") for cycle in range(2, 19)
    ]


async def test_the_keys_command_says_when_the_old_key_may_go(jackpots_dsn: str) -> None:
    await apply_pools(jackpots_dsn, SURE + pool("grand"))
    ran = command(jackpots_dsn, "keys")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == (
        "root-1: configured, commits to new cycles; "
        "needed: 34 committed cycles of grand, sure are not closed\n"
    )
    ran = command(jackpots_dsn, "keys", **NEW)
    assert ran.returncode == 1
    assert "root-1: not configured; needed: 34" in ran.stdout
    ran = command(jackpots_dsn, "keys", JACKPOT_ROOT_KEY=NEW_KEY)
    assert ran.returncode == 1
    assert "root-1: ANOTHER SECRET BY THIS NAME" in ran.stdout
    assert command(jackpots_dsn, "new-cycles", "--reason", "lost", **NEW).returncode == 0
    ran = command(jackpots_dsn, "keys", **BOTH)
    assert ran.returncode == 0
    assert "root-1: configured; no open cycle needs it; without it the draws of 34 closed" in ran.stdout
    assert "root-2: configured, commits to new cycles; needed: 34" in ran.stdout
    for secret in (ROOT_KEY, NEW_KEY):
        assert secret not in ran.stdout + ran.stderr


async def test_pr_13_a_database_that_forgot_what_another_one_has_seen_is_not_served(
    jackpots_dsn: str, tmp_path: Path
) -> None:
    witness = tmp_path / "heads.jsonl"
    async with serving(jackpots_dsn, pools=SURE) as client:
        heads = [(await client.record()).contribution.audit_head for _ in range(3)]
    witness.write_text("".join(map(line_of, heads)))
    async with serving(jackpots_dsn, pools=None, witness_file=witness) as client:
        later = (await client.record()).contribution.audit_head
    witness.write_text(line_of(later))
    look = await asyncpg.connect(jackpots_dsn)
    try:
        # As a backup from before the last answer has it.
        await look.execute(
            "DELETE FROM batches WHERE chain = $1 AND sequence = $2", later.chain, later.sequence
        )
    finally:
        await look.close()
    with pytest.raises(StartRefused, match=f"record {later.sequence} of audit chain {later.chain}"):
        async with serving(jackpots_dsn, pools=None, witness_file=witness):
            pass
    witness.write_text("nonsense")
    with pytest.raises(StartRefused, match="line 1 is not an audit head"):
        async with serving(jackpots_dsn, pools=None, witness_file=witness):
            pass


def line_of(head: pb.AuditHead) -> str:
    return json.dumps({"chain": head.chain, "sequence": head.sequence, "sha256": head.sha256.hex()}) + "\n"

"""The monitor shows what a running system does, and says which part of it does not answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio

from devstack.processes import free_port
from tests.support.client import Client
from tests.support.command_line import run
from tests.support.stack import JACKPOT, SLOTS_GAME, TABLE_GAME, VALKEY, Stack, running_stack


async def watch(stack: Stack, spin_port: int, jackpot_port: int, how: str) -> str:
    status, said = await run(
        "jackpot_server", "monitor", how, "--address", stack.jackpot_address,
        "--metrics", f"http://127.0.0.1:{jackpot_port}/metrics",
        "--spin-metrics", f"http://127.0.0.1:{spin_port}/metrics",
    )  # fmt: skip
    assert status == 0, said
    return said


@asynccontextmanager
async def playing(stack: Stack) -> AsyncIterator[None]:
    """Somebody plays, SLOTS and TABLE in turn, as long as the block runs."""
    async with grpc.aio.insecure_channel(stack.spin_address) as channel:
        client = Client(channel)
        await client.provide_wallet()
        await client.play_until_a_win()
        task = asyncio.create_task(_play_on(client))
        try:
            yield
            assert not task.done(), "the player has stopped"
        finally:
            task.cancel()


async def _play_on(client: Client) -> None:
    while True:
        for game_id in (SLOTS_GAME, TABLE_GAME):
            await client.play(game_id)


async def test_it_tells_the_times_of_both_paths_and_what_does_not_answer(tmp_path: Path) -> None:
    spin_port, jackpot_port = free_port(), free_port()
    async with running_stack(
        tmp_path,
        spin_settings={"SPIN_METRICS_PORT": str(spin_port)},
        jackpot_settings={"JACKPOT_METRICS_PORT": str(jackpot_port)},
    ) as stack:
        async with playing(stack):
            told = json.loads(await watch(stack, spin_port, jackpot_port, "--json"))
        shown = await watch(stack, spin_port, jackpot_port, "--once")

        assert all(told["reachable"].values()), told
        assert [pool["tier"] for pool in told["pools"]] == ["MINOR", "MINI", "GRAND"]
        for path in ("spin SLOTS", "spin TABLE", "jackpot batch", "jackpot lag"):
            assert told["times"][path]["per_second"] > 0, path
            assert 0 < told["times"][path]["p50_ms"] <= told["times"][path]["p99_ms"], path
        assert told["times"]["jackpot in answer"]["per_second"] == 0, "nothing waits in async mode"
        assert told["per_second"]["spins"] > told["per_second"]["contributions"] > 0
        assert told["batch_size"]["spins"] >= 1
        for text in (
            "AFTERSPIN",
            "spins/s",
            "by 1.00 COIN",
            "valkey",
            "JACKPOT WIN! MINI jackpot triggered!",
        ):
            assert text in shown

        stack.kill9(VALKEY)
        assert "does not answer" in await watch(stack, spin_port, jackpot_port, "--once")
        stack.kill9(JACKPOT)
        reachable = json.loads(await watch(stack, spin_port, jackpot_port, "--json"))["reachable"]
        assert reachable == {
            "jackpot server": False, "jackpot metrics": False, "spin metrics": True, "cache": False
        }  # fmt: skip


async def test_in_sync_mode_the_jackpots_part_of_the_answer_is_told_apart(tmp_path: Path) -> None:
    spin_port, jackpot_port = free_port(), free_port()
    settings = {"SPIN_METRICS_PORT": str(spin_port), "SPIN_JACKPOT_MODE": "sync"}
    async with running_stack(
        tmp_path, spin_settings=settings, jackpot_settings={"JACKPOT_METRICS_PORT": str(jackpot_port)}
    ) as stack:
        async with playing(stack):
            told = json.loads(await watch(stack, spin_port, jackpot_port, "--json"))
        waited, spins = (told["times"][path] for path in ("jackpot in answer", "spin SLOTS"))
        assert waited["per_second"] > 0 < spins["per_second"]
        assert waited["p50_ms"] > 0

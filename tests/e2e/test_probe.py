"""The quick tests pass on a running system, and say in a sentence what to look at when it is broken."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run
from tests.support.stack import (
    CURRENCY,
    JACKPOT,
    OPERATOR,
    SLOTS_GAME,
    SPIN,
    TABLE_GAME,
    VALKEY,
    Stack,
    running_stack,
)

COUNT = 20


async def probe_spins(stack: Stack, *more: str) -> tuple[int, str]:
    return await run(
        "spin_server", "probe", "--address", stack.spin_address, "--jackpot-address", stack.jackpot_address,
        "--operator", OPERATOR, "--user", "prober", "--wallet", "prober", "--slots-game", SLOTS_GAME,
        "--table-game", TABLE_GAME, "--count", str(COUNT), "--target-ms", "3000", *more,
    )  # fmt: skip


async def probe_jackpots(stack: Stack, *more: str) -> tuple[int, str]:
    return await run(
        "jackpot_server", "probe", "--address", stack.jackpot_address, "--operator", OPERATOR,
        "--currency", CURRENCY, "--game", SLOTS_GAME, "--wager-minor", "100", "--count", str(COUNT),
        "--target-ms", "3000", *more,
    )  # fmt: skip


def failures(said: str) -> list[dict[str, Any]]:
    return [finding for finding in json.loads(said)["findings"] if not finding["ok"]]


async def test_a_running_system_passes_and_its_figures_are_those_of_its_spins(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as stack:
        status, said = await probe_spins(stack, "--fund")
        assert status == 0, said
        for line in (
            "✔ settings call successful",
            "✔ SLOTS spin completed in",
            "✔ TABLE spin completed in",
            "✔ jackpot was started asynchronously",
            "✔ cache in use: valkey",
            "✔ execution time of SLOTS spins: p50",
            "✔ execution time of TABLE spins: p50",
            "JACKPOT PROCESSING (Phase 4.5 - Asynchronous)",
            "Processing Mode:        asynchronous",
            "Jackpot Contributions:  3",
            "Total Contribution:     0.06033300 COIN",
            "Jackpot Win:            ",
            "Performance Impact:     ",
        ):
            assert line in said
        assert "✘" not in said

        status, said = await probe_spins(stack, "--json")
        told = json.loads(said)
        assert (status, told["passed"]) == (0, True)
        assert told["figures"]["jackpot_mode"] == "async"
        assert told["figures"]["SLOTS spins"]["count"] == told["figures"]["TABLE spins"]["count"] == COUNT

        status, said = await probe_jackpots(stack)
        assert status == 0, said
        assert "✔ settings call successful: 3 pools take part" in said
        assert "Jackpot Contributions:  3" in said
        assert "✔ cache in use: valkey" in said


async def test_each_broken_part_fails_it_with_what_to_look_at(tmp_path: Path) -> None:
    async with running_stack(tmp_path) as stack:
        status, said = await probe_spins(stack)
        assert status == 1
        assert "✘ there is no wallets/prober" in said
        assert "Look at: --wallet and --fund" in said

        status, said = await probe_spins(stack, "--fund", "--json", "--target-ms", "0.001")
        assert status == 1
        assert [failure["text"].split(":")[0] for failure in failures(said)] == [
            "execution time of SLOTS spins",
            "execution time of TABLE spins",
        ]

        status, said = await probe_spins(stack, "--json", "--slots-game", "no-such-game")
        assert status == 1
        assert "SPIN_GAMES_FILE" in failures(said)[0]["look_at"]

        stack.kill9(VALKEY)
        for status, said in (await probe_spins(stack, "--json"), await probe_jackpots(stack, "--json")):
            assert status == 1
            assert [failure["text"] for failure in failures(said)] == ["the cache does not answer"]
            assert "JACKPOT_CACHE_URL" in failures(said)[0]["look_at"]

        stack.kill9(JACKPOT)
        status, said = await probe_spins(stack, "--json")
        assert status == 1
        assert [failure["text"] for failure in failures(said)] == [
            "the jackpot server does not answer: UNAVAILABLE"
        ]
        assert stack.jackpot_address in failures(said)[0]["look_at"]
        assert json.loads(said)["figures"]["SLOTS spins"]["count"] == COUNT, "spins go on without it"
        status, said = await probe_jackpots(stack, "--json")
        assert status == 1
        assert stack.jackpot_address in failures(said)[0]["look_at"]

        stack.send(SPIN, signal.SIGKILL)
        status, said = await probe_spins(stack, "--json")
        assert status == 1
        assert "settings call failed: UNAVAILABLE" in failures(said)[0]["text"]


@pytest.mark.parametrize(
    ("mode", "title", "line", "contributions"),
    [
        ("sync", "Synchronous", "jackpot was processed before the answer", "3"),
        ("off", "Off", "jackpots are off", "0"),
    ],
)
async def test_the_block_says_in_which_mode_jackpots_are_processed(
    tmp_path: Path, mode: str, title: str, line: str, contributions: str
) -> None:
    async with running_stack(tmp_path, spin_settings={"SPIN_JACKPOT_MODE": mode}) as stack:
        status, said = await probe_spins(stack, "--fund")
        assert status == 0, said
        assert f"JACKPOT PROCESSING (Phase 4.5 - {title})" in said
        assert line in said
        assert f"Jackpot Contributions:  {contributions}\n" in said

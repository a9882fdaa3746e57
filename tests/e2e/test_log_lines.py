"""Both servers' logs, in the words that operators know; at the default level only what matters."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc.aio

from protos.jackpot.v1 import jackpot_pb2, jackpot_pb2_grpc
from protos.spin.v1 import spin_pb2 as pb
from tests.support.client import Client
from tests.support.stack import (
    CURRENCY,
    JACKPOT,
    PROVIDER,
    SLOTS_GAME,
    SPIN,
    TABLE_GAME,
    Stack,
    running_stack,
)
from tests.support.waiting import eventually

MS = r"\d+\.\d\d ms"


def told(stack: Stack, server: str, spin_id: str = "", component: str = "") -> list[str]:
    """The events of a server's log, in order; of one spin, or of one component."""
    return [
        str(line["event"])
        for line in log_of(stack.folder / f"{server}.log")
        if (not spin_id or line.get("spin_id") == spin_id)
        and (not component or line.get("component") == component)
    ]


def log_of(file: Path) -> Iterator[dict[str, object]]:
    for line in file.read_text().splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def matches(lines: list[str], patterns: list[str]) -> bool:
    return len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines))


async def test_at_debug_each_spin_is_told_in_the_words_that_operators_know(tmp_path: Path) -> None:
    debug = {"LOG_LEVEL": "debug"}
    async with (
        running_stack(tmp_path, spin_settings=debug, jackpot_settings=debug) as stack,
        grpc.aio.insecure_channel(stack.spin_address) as channel,
    ):
        client = Client(channel)
        await client.provide_wallet()
        table = (await client.play(TABLE_GAME)).spin_id
        won = await client.play_until_a_win()
        slots, win = won.spin_id, won.jackpot_wins[0]
        await eventually(lambda: len(told(stack, JACKPOT, slots)) >= 8)

        start, done = r"\[6/7\] Starting cached transaction", rf"Cached transaction completed in {MS}"
        end = rf"Cached {PROVIDER} Spin completed in {MS}"
        assert matches(told(stack, SPIN, table, "spin"), [start, done, end])
        started = "Jackpot processing started asynchronously for SLOTS game"
        assert matches(told(stack, SPIN, slots, "spin"), [start, done, started, end])
        assert told(stack, JACKPOT, table) == []
        falls = [
            line
            for each in won.jackpot_wins
            for line in (
                f"[ASYNC] JACKPOT WIN! {each.tier} jackpot triggered!",
                f"[ASYNC] Jackpot win processed: {coins(each.amount.amount_minor)}",
            )
        ]
        wins = "1 win" if len(won.jackpot_wins) == 1 else f"{len(won.jackpot_wins)} wins"
        assert told(stack, JACKPOT, slots, "jackpot") == [
            f"[ASYNC] Starting jackpot processing for spin {slots}",
            "[ASYNC] Processing 3 eligible jackpot types: MINI, MINOR, GRAND",
            "[ASYNC] Contributing 0.05 coins to MINI jackpot",
            "[ASYNC] Contributing 0.01 coins to MINOR jackpot",
            "[ASYNC] Contributing 0.000333 coins to GRAND jackpot",
            *falls,
            f"[ASYNC] Jackpot processing completed: 3 contributions, {wins}",
        ]
        assert win.amount.amount_minor > 0


def coins(amount_minor: int) -> str:
    digits = f"{amount_minor // 100}.{amount_minor % 100:02}".rstrip("0").rstrip(".")
    return f"{digits} coin" if digits == "1" else f"{digits} coins"


async def test_at_the_default_level_there_are_wins_and_a_line_a_second_and_no_spin(tmp_path: Path) -> None:
    info = {"LOG_LEVEL": "info"}
    async with (
        running_stack(tmp_path, spin_settings=info, jackpot_settings=info) as stack,
        grpc.aio.insecure_channel(stack.spin_address) as channel,
    ):
        client = Client(channel)
        await client.provide_wallet()
        played = [await client.play(TABLE_GAME) for _ in range(3)]
        won = await client.play_until_a_win()
        await eventually(lambda: sums(stack, SPIN, r"In the last second: (\d+) spins?, (\d+) of SLOTS games"))
        codes = [await stack.stop(name) for name in (SPIN, JACKPOT)]

        assert codes == [0, 0]
        spins, slots = sums(stack, SPIN, r"In the last second: (\d+) spins?, (\d+) of SLOTS games")
        assert spins - slots == len(played)
        contributions, wins = sums(
            stack, JACKPOT, r"\[ASYNC\] In the last second: (\d+) contributions?, (\d+) wins?"
        )
        assert (contributions, wins) == (slots, len(won.jackpot_wins))
        text = told(stack, SPIN) + told(stack, JACKPOT)
        assert sum("JACKPOT WIN!" in line for line in text) == wins
        assert sum("Jackpot win processed:" in line for line in text) == wins
        assert not [line for line in text if "Starting" in line or "completed" in line]


def sums(stack: Stack, server: str, pattern: str) -> tuple[int, ...]:
    """Over all seconds, of the numbers in a line; empty before the first one."""
    found = [re.fullmatch(pattern, line) for line in told(stack, server)]
    rows = [tuple(map(int, match.groups())) for match in found if match]
    return tuple(map(sum, zip(*rows, strict=True)))


async def test_what_failed_is_told_at_the_default_level(tmp_path: Path) -> None:
    info = {"LOG_LEVEL": "info"}
    async with running_stack(tmp_path, spin_settings=info, jackpot_settings=info) as stack:
        async with grpc.aio.insecure_channel(stack.spin_address) as channel:
            client = Client(channel)
            await client.provide_wallet()
            spin = await client.play(SLOTS_GAME)
        async with grpc.aio.insecure_channel(stack.jackpot_address) as channel:
            error = await contribute_otherwise(channel, spin)
        assert error.code() is grpc.StatusCode.ALREADY_EXISTS
        line = f"[ASYNC] Jackpot processing failed for spin {spin.spin_id}: SPIN_ID_REUSED"
        assert line in told(stack, JACKPOT)


async def contribute_otherwise(channel: grpc.aio.Channel, spin: pb.Spin) -> grpc.aio.AioRpcError:
    """The spin's contribution again, with another wager: refused."""
    request = jackpot_pb2.RecordContributionRequest(
        spin_id=spin.spin_id,
        operator_id=spin.operator_id,
        user_id=spin.user_id,
        wallet_id=spin.wallet_id,
        wager=jackpot_pb2.Money(currency_code=CURRENCY, amount_minor=7),
        game_category=jackpot_pb2.GAME_CATEGORY_SLOTS,
        game_id=spin.game_id,
        provider_name=spin.provider_name,
        provider_round_id=spin.provider_round_id,
    )
    try:
        await jackpot_pb2_grpc.JackpotServiceStub(channel).RecordContribution(request)
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("it was accepted")

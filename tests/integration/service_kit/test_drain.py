"""SIGTERM to a real process under load: nothing is lost, nobody sees anything but UNAVAILABLE."""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest

from tests.integration.service_kit.test_server_life import NOT_SERVING, SERVING, health
from tests.integration.service_kit.wallet_double import get_wallet, reason, watch_pools
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
CALLERS = 64
WORK_S = 0.02
# So many answers that no server gave say that it is gone.
GONE = 5
GRACE_S = 10.0


@asynccontextmanager
async def server_process(
    tmp_path: Path,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The wallet double as a process on a UNIX socket, serving; killed at the end if it still runs."""
    address = f"unix:{tmp_path}/double.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.service_kit.wallet_double",
        address,
        str(WORK_S),
        str(tmp_path),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with grpc.aio.insecure_channel(address) as channel:

            async def is_serving() -> bool:
                try:
                    return await health(channel) == SERVING
                except grpc.aio.AioRpcError:
                    return False

            await eventually(is_serving, within_s=20)
        yield process, address
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Caller:
    """Calls again and again until the server is gone, and counts what came of it."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        )
        self.codes: Counter[str] = Counter()
        self.reasons: Counter[str | None] = Counter()

    async def run(self) -> None:
        while self.reasons[None] < GONE:
            try:
                await get_wallet(self.channel, "wallets/slow")
                self.codes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                self.codes[error.code().name] += 1
                self.reasons[reason(error)] += 1
                await asyncio.sleep(0.005)


async def stop(
    process: asyncio.subprocess.Process, number: signal.Signals
) -> tuple[list[dict[str, int]], str]:
    """Sends the signal; what the process then says on stdout, line by line, and its log."""
    process.send_signal(number)
    out, log = await asyncio.wait_for(process.communicate(), GRACE_S + 5)
    return [json.loads(line) for line in out.splitlines()], log.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_callers_of_a_server_that_ends_see_nothing_but_unavailable(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with server_process(tmp_path) as (process, address):
        callers = [Caller(address) for _ in range(CALLERS)]
        running = [asyncio.create_task(caller.run()) for caller in callers]
        await eventually(lambda: all(caller.codes["OK"] >= 3 for caller in callers))
        begin = asyncio.get_running_loop().time()
        lines, log = await stop(process, number)
        took = asyncio.get_running_loop().time() - begin
        await asyncio.gather(*running)
        for caller in callers:
            await caller.channel.close()

    codes = sum((caller.codes for caller in callers), Counter[str]())
    reasons = sum((caller.reasons for caller in callers), Counter[str | None]())
    assert process.returncode == 0, log
    assert took < GRACE_S
    assert set(codes) == {"OK", "UNAVAILABLE"}, codes
    # Besides DRAINING there is only what gRPC says when nobody listens any more.
    assert set(reasons) <= {"DRAINING", None}
    assert reasons["DRAINING"] > 0
    # Hooks in reverse order, after the last call; every call that was let in was answered, and arrived.
    assert [next(iter(line)) for line in lines] == ["hook", "stopped"]
    assert lines[0]["entered"] == lines[0]["answered"] == codes["OK"]
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events == ["server_started", "server_draining", "server_drained"], log


async def test_health_and_streams_tell_of_the_end_while_a_call_still_works(tmp_path: Path) -> None:
    async with (
        server_process(tmp_path) as (process, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        names: list[str] = []
        watching = asyncio.create_task(watch_pools(channel, names, timeout_s=30))
        held = await hold_a_call(channel, tmp_path)
        await eventually(lambda: names)
        stopping = asyncio.create_task(stop(process, signal.SIGTERM))
        await eventually(partial(is_draining, channel))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watching
        assert reason(caught.value) == "DRAINING"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get_wallet(channel, "wallets/quick")
        assert reason(caught.value) == "DRAINING"
        assert not held.done()
        (tmp_path / "release").touch()
        assert await held == "wallets/held"
        await stopping
    assert process.returncode == 0


async def test_a_second_signal_ends_the_waiting(tmp_path: Path) -> None:
    async with (
        server_process(tmp_path) as (process, address),
        grpc.aio.insecure_channel(address) as channel,
    ):
        held = await hold_a_call(channel, tmp_path)
        process.send_signal(signal.SIGTERM)
        await eventually(partial(is_draining, channel))
        begin = asyncio.get_running_loop().time()
        lines, log = await stop(process, signal.SIGTERM)
        assert asyncio.get_running_loop().time() - begin < GRACE_S / 2
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await held
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason(caught.value) == "OUTCOME_UNKNOWN"
    assert process.returncode == 0, log
    assert [next(iter(line)) for line in lines] == ["hook", "stopped"]


async def hold_a_call(channel: grpc.aio.Channel, folder: Path) -> "asyncio.Task[str]":
    """A call that is inside the server and stays there until the file `release` exists."""
    held = asyncio.create_task(get_wallet(channel, "wallets/held", timeout_s=60))
    await eventually((folder / "held").exists)
    return held


async def is_draining(channel: grpc.aio.Channel) -> bool:
    return await health(channel) == NOT_SERVING

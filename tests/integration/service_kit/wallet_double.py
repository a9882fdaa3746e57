"""A servicer whose behaviour a test chooses by the name of the wallet that it asks for, and its server.

Run as a program it serves until a signal, and then says on stdout how many calls it let in and answered.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from protos.jackpot.v1 import jackpot_pb2, jackpot_pb2_grpc
from protos.spin.v1 import spin_pb2, spin_pb2_grpc
from service_kit.process import run
from service_kit.server import GrpcServer
from service_kit.settings import ServerSettings
from tests.support.waiting import POLL_S

CANARY_DSN = "postgresql://spin_server:canary-7f3a@db.internal:5432/spins"

GET_WALLET = "/spin.v1.WalletService/GetWallet"
WATCH_POOLS = "/jackpot.v1.JackpotService/WatchPools"

Behaviours = dict[str, Callable[[], Awaitable[None]]]
Context = grpc.aio.ServicerContext[spin_pb2.GetWalletRequest, spin_pb2.GetWalletResponse]


class DoubleSettings(ServerSettings):
    model_config = SettingsConfigDict(env_prefix="DOUBLE_")


def settings(**more: object) -> DoubleSettings:
    """On a free port of the loopback, without a database."""
    given = {"listen": "127.0.0.1:0", "database_dsn": SecretStr(CANARY_DSN), "drain_delay_s": 0.0, **more}
    return DoubleSettings.model_validate(given)


class Wallets(spin_pb2_grpc.WalletServiceServicer):
    """GetWallet only: `behaviours[name]` is awaited; the other methods are those of the generated class."""

    def __init__(self, behaviours: Behaviours | None = None) -> None:
        self.behaviours = behaviours or {}
        self.entered = 0
        self.answered = 0

    async def GetWallet(
        self, request: spin_pb2.GetWalletRequest, context: Context
    ) -> spin_pb2.GetWalletResponse:
        self.entered += 1
        behaviour = self.behaviours.get(request.name)
        if behaviour is not None:
            await behaviour()
        self.answered += 1
        return spin_pb2.GetWalletResponse(wallet=spin_pb2.Wallet(name=request.name))


class Pools(jackpot_pb2_grpc.JackpotServiceServicer):
    """WatchPools only, for one caller: a numbered message every `pause_s`; after `fail_after` it raises."""

    def __init__(self, pause_s: float = 0.01, fail_after: int | None = None, size: int = 0) -> None:
        self.pause_s = pause_s
        self.fail_after = fail_after
        self.size = size
        self.sent = 0
        self.closed = asyncio.Event()

    async def WatchPools(
        self, request: jackpot_pb2.WatchPoolsRequest, context: object
    ) -> AsyncIterator[jackpot_pb2.WatchPoolsResponse]:
        try:
            while True:
                if self.sent == self.fail_after:
                    raise RuntimeError(CANARY_DSN)
                self.sent += 1
                pool = jackpot_pb2.Pool(name=f"pools/{self.sent}" + "x" * self.size)
                yield jackpot_pb2.WatchPoolsResponse(change=pool)
                await asyncio.sleep(self.pause_s)
        finally:
            self.closed.set()


def make_wallets(behaviours: Behaviours | None = None) -> Wallets:
    """With the methods that it does not have left to the generated class, as a server may."""
    return Wallets(behaviours)  # type: ignore[abstract]


def make_pools(pause_s: float = 0.01, fail_after: int | None = None, size: int = 0) -> Pools:
    """With the methods that it does not have left to the generated class."""
    return Pools(pause_s, fail_after, size)  # type: ignore[abstract]


@asynccontextmanager
async def serving(
    wallets: Wallets | None = None,
    pools: Pools | None = None,
    compression: grpc.Compression | None = None,
    **more: object,
) -> AsyncIterator[tuple[GrpcServer, grpc.aio.Channel]]:
    """A server that serves, and a channel to it; closed at the end unless the test did."""
    server = build(wallets or make_wallets(), pools or make_pools(), settings(**more))
    await server.open()
    await server.begin_serving()
    try:
        async with grpc.aio.insecure_channel(server.address, compression=compression) as channel:
            yield server, channel
    finally:
        await server.close()


def build(wallets: Wallets, pools: Pools, chosen: ServerSettings) -> GrpcServer:
    """The server of both servicers, not opened yet."""
    return GrpcServer(
        chosen,
        [
            partial(spin_pb2_grpc.add_WalletServiceServicer_to_server, wallets),
            partial(jackpot_pb2_grpc.add_JackpotServiceServicer_to_server, pools),
        ],
    )


async def get_wallet(channel: grpc.aio.Channel, name: str, timeout_s: float = 5.0) -> str:
    """The name that the server answered with."""
    stub = spin_pb2_grpc.WalletServiceStub(channel)
    response = await stub.GetWallet(spin_pb2.GetWalletRequest(name=name), timeout=timeout_s)
    answered: str = response.wallet.name
    return answered


async def call_raw(channel: grpc.aio.Channel, path: str, raw: bytes, **options: Any) -> bytes:
    """A unary call with any bytes."""
    method: Any = channel.unary_unary(path)
    answer: bytes = await method(raw, timeout=5, **options)
    return answer


async def watch_pools(channel: grpc.aio.Channel, names: list[str], timeout_s: float = 5.0) -> None:
    """Notes the name of every pool that is shown until the stream ends."""
    stub = jackpot_pb2_grpc.JackpotServiceStub(channel)
    async for response in stub.WatchPools(jackpot_pb2.WatchPoolsRequest(), timeout=timeout_s):
        names.append(response.change.name)


def details(error: grpc.aio.AioRpcError) -> tuple[ErrorInfo | None, BadRequest | None, RetryInfo | None]:
    """The rich error that came with a status."""
    status = Status()
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    found: list[ErrorInfo | BadRequest | RetryInfo | None] = [None, None, None]
    for detail in status.details:
        for place, kind in enumerate((ErrorInfo, BadRequest, RetryInfo)):
            if detail.Is(kind.DESCRIPTOR):
                message = kind()
                detail.Unpack(message)
                found[place] = message
    return found[0], found[1], found[2]


def reason(error: grpc.aio.AioRpcError) -> str | None:
    """ErrorInfo.reason of a status, if it has one."""
    info = details(error)[0]
    return None if info is None else str(info.reason)


def everything(error: grpc.aio.AioRpcError) -> str:
    """All that a client can see of a status, as one text."""
    return repr((error.details(), error.debug_error_string(), tuple(error.trailing_metadata())))


async def _serve(chosen: ServerSettings, work_s: float, folder: Path) -> None:
    """wallets/slow takes `work_s`; wallets/held makes the file `held` and waits for the file `release`."""
    release = folder / "release"

    async def released() -> None:
        (folder / "held").touch()
        while not release.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(POLL_S)

    wallets = make_wallets({"wallets/slow": lambda: asyncio.sleep(work_s), "wallets/held": released})
    server = build(wallets, make_pools(), chosen)

    async def start() -> None:
        server.on_stop("later", partial(report, "hook"))

    async def report(what: str = "stopped") -> None:
        line = {what: True, "entered": wallets.entered, "answered": wallets.answered}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    await server.run_until_signal(start, report)


if __name__ == "__main__":
    in_json = settings(listen=sys.argv[1], log_format="json", drain_delay_s=0.2)
    run(partial(_serve, in_json, float(sys.argv[2]), Path(sys.argv[3])), in_json)

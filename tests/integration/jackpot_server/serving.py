"""A whole jackpot server in this process, called through real gRPC."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status
from pydantic import SecretStr

from jackpot_server import config
from jackpot_server.app import JackpotServer
from jackpot_server.apply import apply
from jackpot_server.domain.plan import Plan
from jackpot_server.settings import JackpotSettings
from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1.jackpot_pb2_grpc import JackpotAdminServiceStub, JackpotServiceStub
from service_kit.database import connect
from tests.integration.jackpot_server.bench import ROOT_KEYS

ROOT_KEY = ROOT_KEYS.newest.secret.hex()
OPERATOR = "demo"

MINI = """
[pools.mini]
display_name = "Mini"
tier = "MINI"
currency_code = "COIN"
contribution_ppm = 10000
reserve_ppm = 5000
reset_minor = 100
trigger = { must_hit_by = { floor_minor = 200, ceiling_minor = 100000 } }
"""
# Falls to nobody in a test's time.
GRAND = """
[pools.grand]
display_name = "Grand"
tier = "GRAND"
currency_code = "COIN"
contribution_ppm = 20000
reset_minor = 5000
trigger = { odds = { one_in = 100000000, per_wager_minor = 1000000 } }
"""
# Falls to every spin of this operator.
SURE = """
[pools.sure]
display_name = "Sure"
tier = "SURE"
currency_code = "COIN"
operator_ids = ["winner", "winner-2"]
contribution_ppm = 1000
reset_minor = 50
trigger = { odds = { one_in = 1, per_wager_minor = 1 } }
"""
POOLS = MINI + GRAND + SURE


def pool(pool_id: str, **fields: Any) -> str:
    """A pool of a `jackpots.toml` that never falls in a test's time."""
    values = {"display_name": f'"{pool_id}"', "tier": '"T"', "currency_code": '"COIN"', **fields}
    lines = "".join(f"{key} = {value}\n" for key, value in values.items())
    return (
        f"[pools.{pool_id}]\n{lines}contribution_ppm = 1000\nreset_minor = 100\n"
        "trigger = { odds = { one_in = 100000000, per_wager_minor = 1000000 } }\n"
    )


def coins(amount_minor: int) -> pb.Money:
    return pb.Money(currency_code="COIN", amount_minor=amount_minor)


def contribution(**fields: Any) -> pb.RecordContributionRequest:
    """A well-formed request for a spin of its own."""
    values: dict[str, Any] = {
        "spin_id": str(uuid4()),
        "operator_id": OPERATOR,
        "user_id": "player",
        "wallet_id": "w",
        "wager": coins(100),
        "game_category": pb.GAME_CATEGORY_SLOTS,
        "game_id": "slots",
        "provider_name": "house",
        "provider_round_id": "r1",
    }
    return pb.RecordContributionRequest(**values | fields)


def credited(win: pb.Win, **fields: Any) -> pb.AcknowledgeWinRequest:
    """What a wallet says that has credited the win."""
    values: dict[str, Any] = {
        "name": win.name,
        "outcome": pb.AcknowledgeWinRequest.OUTCOME_CREDITED,
        "wallet_entry_id": "w:1",
        "credited": win.amount,
        "event_sequence": win.event_sequence,
    }
    return pb.AcknowledgeWinRequest(**values | fields)


@dataclass
class Client:
    """The stubs of one channel to a server of this process."""

    server: JackpotServer
    channel: grpc.aio.Channel
    dsn: str

    def __post_init__(self) -> None:
        self.jackpots: Any = JackpotServiceStub(self.channel)
        self.admin: Any = JackpotAdminServiceStub(self.channel)

    async def record(self, **fields: Any) -> pb.RecordContributionResponse:
        response: pb.RecordContributionResponse = await self.jackpots.RecordContribution(
            contribution(**fields)
        )
        return response

    async def win(self, operator_id: str = "winner", **fields: Any) -> pb.Win:
        """A win of the pool that falls to every spin of its operators."""
        recorded = await self.record(operator_id=operator_id, **fields)
        won: pb.Win = next(win for win in recorded.contribution.wins if win.pool == "pools/sure")
        return won

    async def pool(self, pool_id: str) -> pb.Pool:
        response = await self.jackpots.GetPool(pb.GetPoolRequest(name=f"pools/{pool_id}"))
        shown: pb.Pool = response.pool
        return shown


async def apply_pools(dsn: str, pools: str) -> Plan:
    """What `python -m jackpot_server apply` does."""
    connection = await connect(dsn, application_name="apply")
    try:
        parsed = config.parse(pools.encode())
        keys = settings(dsn).read_root_keys()
        return await apply(connection, parsed, keys, actor="test", reason="test")
    finally:
        await connection.close()


def settings(dsn: str, **fields: Any) -> JackpotSettings:
    values: dict[str, Any] = {
        "database_dsn": SecretStr(dsn),
        "listen": "127.0.0.1:0",
        "metrics_port": 0,
        "environment": "test",
        "root_key": SecretStr(ROOT_KEY),
        "drain_delay_s": 0,
    }
    return JackpotSettings(**values | fields)


@asynccontextmanager
async def serving(
    dsn: str, *, pools: str | None = POOLS, cache_url: str = "", **fields: Any
) -> AsyncIterator[Client]:
    """A started server over `dsn`, with the pools applied; drained at the end. Several may share one."""
    if pools is not None:
        await apply_pools(dsn, pools)
    server = JackpotServer(settings(dsn, cache_url=SecretStr(cache_url), **fields))
    server.server.on_stop("application", server.stop)
    try:
        await server.server.open()
        await server.start()
        await server.server.begin_serving()
        async with grpc.aio.insecure_channel(server.server.address) as channel:
            yield Client(server, channel, dsn)
    finally:
        await server.server.close()


@dataclass(frozen=True)
class Error:
    """A call's error as its caller can read it."""

    code: str
    reason: str
    domain: str
    metadata: dict[str, str]
    fields: list[str]
    message: str
    retry_s: float | None


async def error_of(call: Awaitable[Any]) -> Error:
    """The error that the call must end with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return read_error(caught.value)


def read_error(error: grpc.aio.AioRpcError) -> Error:
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status is not None else ():
        for message in (info, bad, retry):
            detail.Unpack(message)
    return Error(
        error.code().name,
        info.reason,
        info.domain,
        dict(info.metadata),
        [violation.field for violation in bad.field_violations],
        error.details() or "",
        retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
    )


async def take(stream: AsyncIterator[Any], count: int) -> list[Any]:
    """The stream's next messages."""
    return [await anext(stream) for _ in range(count)]


@contextlib.asynccontextmanager
async def watching(client: Client, **fields: Any) -> AsyncIterator[Any]:
    """An open WatchPools stream; cancelled at the end."""
    call = client.jackpots.WatchPools(pb.WatchPoolsRequest(**fields))
    try:
        yield aiter(call)
    finally:
        call.cancel()

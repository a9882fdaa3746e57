"""A whole spin server in this process, called through real gRPC."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status
from pydantic import SecretStr

from jackpot_outbox.settings import OutboxSettings
from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1 import spin_pb2_grpc
from spin_server.app import SpinServer
from spin_server.settings import SpinSettings

ROOT = Path(__file__).parents[3]


@dataclass
class Client:
    """The stubs of one channel, and requests with everything filled in."""

    server: SpinServer
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.spins: Any = spin_pb2_grpc.SpinServiceStub(self.channel)
        self.games: Any = spin_pb2_grpc.GameServiceStub(self.channel)
        self.wallets: Any = spin_pb2_grpc.WalletServiceStub(self.channel)

    async def fund(self, wallet_id: str = "w", amount_minor: int = 10_000, *, is_test: bool = False) -> None:
        await self.wallets.CreateWallet(
            pb.CreateWalletRequest(
                request_id=str(uuid4()),
                wallet_id=wallet_id,
                operator_id="demo",
                user_id=f"user-of-{wallet_id}",
                currency_code="COIN",
                is_test=is_test,
            )
        )
        if amount_minor:
            await self.wallets.Deposit(
                pb.DepositRequest(
                    request_id=str(uuid4()), name=f"wallets/{wallet_id}", amount=coins(amount_minor)
                )
            )

    async def settle(self, wallet_id: str = "w", **fields: Any) -> pb.SettleSpinResponse:
        response: pb.SettleSpinResponse = await self.spins.SettleSpin(settle_request(wallet_id, **fields))
        return response

    async def balance(self, wallet_id: str = "w") -> int:
        response = await self.wallets.GetWallet(pb.GetWalletRequest(name=f"wallets/{wallet_id}"))
        return int(response.wallet.balance.amount_minor)


def coins(amount_minor: int) -> pb.Money:
    return pb.Money(currency_code="COIN", amount_minor=amount_minor)


def settle_request(wallet_id: str = "w", **fields: Any) -> pb.SettleSpinRequest:
    return pb.SettleSpinRequest(**{**_spin_fields(wallet_id), "payout": coins(0), **fields})


def play_request(wallet_id: str = "w", **fields: Any) -> pb.PlaySpinRequest:
    return pb.PlaySpinRequest(**_spin_fields(wallet_id) | fields)


def _spin_fields(wallet_id: str) -> dict[str, Any]:
    return {
        "spin_id": str(uuid4()),
        "operator_id": "demo",
        "user_id": f"user-of-{wallet_id}",
        "wallet_id": wallet_id,
        "game_id": "demo-slots",
        "provider_name": "house",
        "provider_round_id": "r1",
        "wager": coins(100),
    }


@asynccontextmanager
async def serving(
    dsn: str, *, jackpot_address: str = "127.0.0.1:1", **settings: Any
) -> AsyncIterator[Client]:
    """A started server over `dsn`; drained at the end."""
    spin_settings = SpinSettings(
        database_dsn=SecretStr(dsn),
        listen="127.0.0.1:0",
        metrics_port=0,
        environment="test",
        games_file=ROOT / "devstack/demo/games.toml",
        drain_delay_s=0,
        **settings,
    )
    server = SpinServer(spin_settings, OutboxSettings(jackpot_address=jackpot_address))
    server.server.on_stop("application", server.stop)
    try:
        await server.server.open()
        await server.start()
        await server.server.begin_serving()
        async with grpc.aio.insecure_channel(server.server.address) as channel:
            yield Client(server, channel)
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


async def error_of(call: Any) -> Error:
    """The error that the call must end with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return read_error(caught.value)


def read_error(error: grpc.aio.AioRpcError) -> Error:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status is not None else ():
        detail.Unpack(info)
        detail.Unpack(bad)
    fields = [violation.field for violation in bad.field_violations]
    return Error(
        error.code().name, info.reason, info.domain, dict(info.metadata), fields, error.details() or ""
    )

"""The original's "after": eight statements, one transaction per spin, then one unanswered call per spin.

The call goes to the real jackpot server and nobody waits for it: what it answers, a win too, is thrown away,
and so is what it does not answer. It writes no outbox row and books no answer.

python -m bench.baselines.after serve (SPIN_*, OUTBOX_JACKPOT_ADDRESS)
"""

import asyncio
import os
from functools import partial
from typing import Any

import grpc.aio

from bench.baselines.one_by_one import Connections, contribution_of, parse, render, settle_one
from protos.jackpot.v1.jackpot_pb2_grpc import JackpotServiceStub
from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1.spin_pb2_grpc import SpinServiceServicer, add_SpinServiceServicer_to_server
from service_kit.process import run
from service_kit.server import GrpcServer
from service_kit.settings import load
from spin_server.domain.facts import NOT_APPLICABLE, PENDING, SpinRecord
from spin_server.domain.settle import Rules
from spin_server.games import load_games
from spin_server.settings import SpinSettings

CALL_TIMEOUT_S = 30.0


class After(SpinServiceServicer):
    """SettleSpin; the jackpot comes later."""

    def __init__(self, settings: SpinSettings) -> None:
        self._connections = Connections(partial(settings.connect, "after"))
        self._rules = Rules(load_games(settings.games_file), jackpots_on=True)
        self._channel: grpc.aio.Channel | None = None
        self._jackpots: Any = None
        self._calls: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Opens the connections."""
        await self._connections.open()
        self._channel = grpc.aio.insecure_channel(os.environ["OUTBOX_JACKPOT_ADDRESS"])
        self._jackpots = JackpotServiceStub(self._channel)

    async def close(self) -> None:
        """Closes them."""
        await self._connections.close()
        if self._channel is not None:
            await self._channel.close()

    async def SettleSpin(
        self, request: pb.SettleSpinRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.SettleSpinResponse:
        command = parse(request)
        async with self._connections.transaction() as connection:
            spin, _, _ = await settle_one(connection, command, self._rules)
        if not spin.record.has_jackpot:
            return render(spin, NOT_APPLICABLE)
        call = asyncio.create_task(self._contribute(spin.record))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return render(spin, PENDING)

    async def _contribute(self, record: SpinRecord) -> None:
        assert self._jackpots is not None
        try:
            await self._jackpots.RecordContribution(contribution_of(record), timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            print(f"lost: {error.code().name} {error.details()}", flush=True)


async def serve(settings: SpinSettings) -> None:
    """Until SIGTERM."""
    service = After(settings)  # type: ignore[abstract]
    server = GrpcServer(settings, [partial(add_SpinServiceServicer_to_server, service)])
    await server.run_until_signal(service.open, service.close)


if __name__ == "__main__":
    loaded = load(SpinSettings)
    run(partial(serve, loaded), loaded)

"""PgQueuer as the background queue: a job in the spin's transaction; a worker does the rest.

The job is the contribution, its worker calls the real jackpot server, so both sides record and draw with the
same code. Tuned: a connection of the pool enqueues in its own transaction, and the worker takes jobs by the
hundred and runs them side by side. What a win's answer brings is thrown away: crediting it would need a
second job.

python -m bench.baselines.background_queue serve (SPIN_*)
python -m bench.baselines.background_queue worker (SPIN_DATABASE_DSN, OUTBOX_JACKPOT_ADDRESS)
"""

import os
import sys
from datetime import timedelta
from functools import partial
from typing import Any, Final

import asyncpg
import grpc.aio
import uvloop
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job

from bench.baselines.one_by_one import Connections, contribution_of, parse, render, settle_one
from protos.spin.v1 import spin_pb2 as pb
from protos.spin.v1.spin_pb2_grpc import SpinServiceServicer, add_SpinServiceServicer_to_server
from service_kit.process import run
from service_kit.server import GrpcServer
from service_kit.settings import load
from spin_server.domain.facts import NOT_APPLICABLE, PENDING
from spin_server.domain.settle import Rules
from spin_server.games import load_games
from spin_server.settings import SpinSettings

JOB: Final = "contribute"
JOBS_AT_ONCE: Final = 100
CALL_TIMEOUT_S: Final = 30.0


async def install(dsn: str) -> None:
    """The queue's tables, beside the spins."""
    connection = await asyncpg.connect(dsn)
    try:
        await Queries(AsyncpgDriver(connection)).install()
    finally:
        await connection.close()


class Enqueuing(SpinServiceServicer):
    """SettleSpin; the jackpot is a job."""

    def __init__(self, settings: SpinSettings) -> None:
        self._connections = Connections(partial(settings.connect, "background queue"))
        self._rules = Rules(load_games(settings.games_file), jackpots_on=True)
        self._queues: dict[asyncpg.Connection, Queries] = {}

    async def open(self) -> None:
        """Opens the connections."""
        await self._connections.open()

    async def close(self) -> None:
        """Closes them."""
        await self._connections.close()

    async def SettleSpin(
        self, request: pb.SettleSpinRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> pb.SettleSpinResponse:
        command = parse(request)
        async with self._connections.transaction() as connection:
            spin, _, _ = await settle_one(connection, command, self._rules)
            if not spin.record.has_jackpot:
                return render(spin, NOT_APPLICABLE)
            queue = self._queues.get(connection)
            if queue is None:
                queue = self._queues[connection] = Queries(AsyncpgDriver(connection))
            await queue.enqueue(JOB, contribution_of(spin.record).SerializeToString())
        return render(spin, PENDING)


async def work() -> None:
    """Until it is killed."""
    connection = await asyncpg.connect(os.environ["SPIN_DATABASE_DSN"])
    queue = PgQueuer(AsyncpgDriver(connection))
    async with grpc.aio.insecure_channel(os.environ["OUTBOX_JACKPOT_ADDRESS"]) as channel:
        record: Any = channel.unary_unary("/jackpot.v1.JackpotService/RecordContribution")

        @queue.entrypoint(JOB)
        async def contribute(job: Job) -> None:
            await record(job.payload, timeout=CALL_TIMEOUT_S)

        await queue.run(dequeue_timeout=timedelta(seconds=1), batch_size=JOBS_AT_ONCE)


async def serve(settings: SpinSettings) -> None:
    """Until SIGTERM."""
    service = Enqueuing(settings)  # type: ignore[abstract]
    server = GrpcServer(settings, [partial(add_SpinServiceServicer_to_server, service)])
    await server.run_until_signal(service.open, service.close)


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        uvloop.run(work())
    else:
        loaded = load(SpinSettings)
        run(partial(serve, loaded), loaded)

"""The composition root: the only file that knows every part of the spin server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from jackpot_outbox.rows import Row
from jackpot_outbox.service import Outbox
from jackpot_outbox.settings import OutboxSettings
from protos.spin.v1 import spin_pb2_grpc
from service_kit.first_contact import wait_until_servable
from service_kit.schema import assert_migrated
from service_kit.server import GrpcServer
from spin_server.committer import Committer
from spin_server.domain.settle import Rules
from spin_server.games import load_games
from spin_server.narrated_service import NarratedSpinService
from spin_server.reads import Reads
from spin_server.service import GameService, ProcessInfo, SpinService, WalletService
from spin_server.settings import SpinSettings
from spin_server.waiting import JackpotWaiters


class SpinServer:
    """Everything of one spin server. `server.run_until_signal` starts, serves and stops it."""

    def __init__(self, settings: SpinSettings, outbox_settings: OutboxSettings) -> None:
        """Opens nothing yet. StartRefused if the games or the address cannot be served."""
        self._settings = settings
        catalog = load_games(settings.games_file)
        jackpots_on = settings.jackpot_mode != "off"
        self._reads = Reads(partial(settings.create_pool, "spin_server reads"))
        self._waiters = JackpotWaiters(self._reads.answered, max_waiting=settings.max_jackpot_waiters)
        self._committer = Committer(
            partial(settings.connect, "spin_server committer"),
            Rules(catalog, jackpots_on),
            max_batch=settings.max_batch,
            max_waiting=settings.max_waiting,
            on_commit=self._offer,
            on_booked=self._waiters.tell,
        )
        self._outbox: Outbox | None = None
        if jackpots_on:
            self._outbox = Outbox(
                outbox_settings,
                connect=partial(settings.connect, "spin_server outbox"),
                book=self._committer.book,
            )
        process = ProcessInfo(
            settings.environment, settings.jackpot_mode, datetime.now(UTC), self._jackpot_reachable
        )
        spin_service = NarratedSpinService if settings.log_level == "debug" else SpinService
        spins = spin_service(self._committer, self._reads, self._waiters, catalog, process)
        wallets = WalletService(self._committer, self._reads)
        self.server = GrpcServer(
            settings,
            [
                partial(spin_pb2_grpc.add_SpinServiceServicer_to_server, spins),
                partial(spin_pb2_grpc.add_GameServiceServicer_to_server, GameService(catalog)),
                partial(spin_pb2_grpc.add_WalletServiceServicer_to_server, wallets),
            ],
        )

        self.server.on_drain(self._waiters.release)

    async def serve(self) -> None:
        """Lives until SIGTERM or SIGINT. Ready means: its own database answers."""
        await self.server.run_until_signal(self.start, self.stop, ready=self._reads.is_up)

    async def start(self) -> None:
        """Waits for the database, looks whether it may be served, starts the parts that write and send."""
        has_schema = partial(assert_migrated, package="spin_server")
        await wait_until_servable(self._settings, "spin_server", has_schema)
        await self._reads.open()
        self._committer.start()
        if self._outbox is not None:
            await self._outbox.start()

    async def stop(self) -> None:
        """After the last call: what is in flight to the jackpot server is booked, then everything closes."""
        if self._outbox is not None:
            await self._outbox.close()
        await self._committer.close()
        await self._waiters.close()
        await self._reads.close()

    def _offer(self, rows: Sequence[Row]) -> None:
        if self._outbox is not None:
            self._outbox.offer(rows)

    def _jackpot_reachable(self) -> bool:
        return self._outbox is not None and self._outbox.reachable

"""The composition root: the only file that knows every part of the jackpot server."""

from collections.abc import Sequence
from functools import partial

import asyncpg

from jackpot_server.admin_service import JackpotAdminService
from jackpot_server.administration import Administration
from jackpot_server.board import PoolBoard
from jackpot_server.cache import SnapshotCache
from jackpot_server.committer import Committer
from jackpot_server.domain.pool import PoolView
from jackpot_server.draw_reads import DrawReads
from jackpot_server.identity import Identities
from jackpot_server.metrics import EVENT_WAITERS, WAITING
from jackpot_server.open_wins import OpenWins
from jackpot_server.pool_reads import PoolReads
from jackpot_server.reads import ReadConnections, Reads
from jackpot_server.report_reads import ReportReads
from jackpot_server.server_info import ServerInfo
from jackpot_server.service import JackpotService
from jackpot_server.settings import JackpotSettings
from jackpot_server.snapshots import SnapshotWriter
from jackpot_server.watch import PoolWatch
from jackpot_server.win_feed import WinFeed
from jackpot_server.wire import answers
from jackpot_server.witness import assert_remembered, read_heads_of
from protos.jackpot.v1 import jackpot_pb2_grpc
from service_kit.first_contact import wait_until_servable
from service_kit.schema import assert_migrated
from service_kit.server import GrpcServer


class JackpotServer:
    """Everything of one jackpot server. `server.run_until_signal` starts, serves and stops it."""

    def __init__(self, settings: JackpotSettings) -> None:
        """Opens nothing yet. StartRefused if the address cannot be served."""
        self._settings = settings
        self._connections = ReadConnections(partial(settings.create_pool, "jackpot_server reads"))
        reads, self._pools = Reads(self._connections), PoolReads(self._connections)
        url = settings.cache_url.get_secret_value()
        self._cache = SnapshotCache(url, settings.cache_prefix) if url else None
        self._snapshots = SnapshotWriter(self._cache, answers.pool_snapshot) if self._cache else None
        root_keys = settings.read_root_keys()
        draws = DrawReads(self._connections, root_keys)
        self._committer = Committer(
            partial(settings.connect, "jackpot_server committer"),
            root_keys,
            on_commit=self._show,
            max_batch=settings.max_batch,
            max_waiting=settings.max_waiting,
        )
        self._feed = WinFeed(reads.last_sequences)
        self._board = PoolBoard(self._pools, self._cache)
        self._watch = PoolWatch(
            self._pools, max_watchers=settings.watch_max_streams, max_age_s=settings.watch_max_age_s
        )
        self._open_wins = OpenWins(self._connections)
        info = ServerInfo(settings.environment, self._connections, self._pools, self._cache)
        service = JackpotService(
            self._committer,
            reads,
            ReportReads(self._connections),
            draws,
            self._feed,
            self._board,
            self._watch,
            info,
        )
        self._administration = Administration(
            partial(settings.connect, "jackpot_server administration"), root_keys
        )
        admin = JackpotAdminService(
            self._administration, Identities(settings.environment), self._pools, reads, self._connections
        )
        self.server = GrpcServer(
            settings,
            [
                partial(jackpot_pb2_grpc.add_JackpotServiceServicer_to_server, service),
                partial(jackpot_pb2_grpc.add_JackpotAdminServiceServicer_to_server, admin),
            ],
        )
        self.server.on_drain(self._feed.release)

    async def serve(self) -> None:
        """Lives until SIGTERM or SIGINT. Ready means: its own database answers."""
        await self.server.run_until_signal(self.start, self.stop, ready=self._pools.answers)

    async def start(self) -> None:
        """Waits for the database, looks whether it may be served, starts the parts that write."""
        await wait_until_servable(self._settings, "jackpot_server", self._assert_servable)
        await self._connections.open()
        await self._committer.start()
        self._administration.start()
        if self._snapshots is not None:
            self._snapshots.start()
        self._open_wins.start()
        WAITING.set_function(lambda: self._committer.waiting)
        EVENT_WAITERS.set_function(lambda: self._feed.waiting)

    async def stop(self) -> None:
        """After the last call: what was taken is committed, then everything closes."""
        await self._administration.close()
        await self._committer.close()
        await self._open_wins.close()
        await self._watch.close()
        await self._feed.close()
        await self._board.close()
        if self._snapshots is not None:
            await self._snapshots.close()
        if self._cache is not None:
            await self._cache.close()
        await self._connections.close()

    async def _assert_servable(self, connection: asyncpg.Connection) -> None:
        await assert_migrated(connection, "jackpot_server")
        if self._settings.witness_file is not None:
            await assert_remembered(connection, read_heads_of(self._settings.witness_file))

    def _show(self, views: Sequence[PoolView]) -> None:
        if self._snapshots is not None:
            self._snapshots.offer(views)

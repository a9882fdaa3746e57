"""What this server says of itself: which code decides, under which configuration, on which parts."""

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files

from jackpot_server import domain
from jackpot_server.cache import NO_CACHE, SnapshotCache
from jackpot_server.pool_reads import PoolReads
from jackpot_server.reads import ReadConnections
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.schema import schema_version


def engine_digest() -> bytes:
    """SHA-256 of the deciding code: each file of the domain and the arithmetic of money, name and text."""
    sources = {
        f"domain/{file.name}": file.read_bytes()
        for file in files(domain).iterdir()
        if file.name.endswith(".py")
    }
    sources["money.py"] = files("service_kit").joinpath("money.py").read_bytes()
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name}\0{len(sources[name])}\0".encode())
        digest.update(sources[name])
    return digest.digest()


class ServerInfo:
    """Answers GetServerInfo. The start time is when this was made."""

    def __init__(
        self,
        environment: str,
        connections: ReadConnections,
        reads: PoolReads,
        cache: SnapshotCache | None,
    ) -> None:
        self._environment = environment
        self._connections = connections
        self._reads = reads
        self._cache = cache
        self._engine_digest = engine_digest()
        self._start_time = datetime.now(UTC)

    async def answer(self) -> pb.GetServerInfoResponse:
        """What is said of the database and the cache is asked of them now."""
        cache = await self._cache.server() if self._cache else NO_CACHE
        async with self._connections.connection() as connection:
            schema = await schema_version(connection)
        response = pb.GetServerInfoResponse(
            version=version("afterspin"),
            environment=self._environment,
            cache=pb.GetServerInfoResponse.Cache(
                kind=cache.kind, version=cache.version, reachable=cache.reachable
            ),
            database_version=await self._reads.database_version(),
            schema_version=schema,
            engine_sha256=self._engine_digest,
            config_sha256=await self._reads.config_digest(),
        )
        response.start_time.FromDatetime(self._start_time)
        return response

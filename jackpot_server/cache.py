"""Snapshots in a Dragonfly, Valkey or Redis server: never the truth, never waited for longer than 50 ms.

A snapshot is bytes with a version, sealed so that whatever else stands under its key is noticed. It is
written by a one-key script, and only over an older version. Every call here may be repeated, none raises:
a cache that is away, slow or full of nonsense is the same as an empty one.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Gauge
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from service_kit.telemetry import get_log

# For one exchange with the cache, connecting included.
LIMIT_S = 0.05
# How old a snapshot may be when it is fetched, by the clock of whoever wrote it: a second, less the moment
# for which it is passed on.
MAX_AGE_MS = 980
# A key lives a little shorter than its snapshot is good for, each a little differently, so that not all
# are missed at once.
TTL_MS = (830, 960)
# After so many failures in a row nothing is asked for a while.
FAILURES_TO_OPEN = 3
OPEN_S = (0.8, 1.2)
CONNECTIONS = 4

_log = get_log("cache")

_VERSION_DIGITS = 20
_STAMP_DIGITS = 13
_DIGEST_SIZE = 16
_DIGEST_START = _VERSION_DIGITS + _STAMP_DIGITS
_PAYLOAD_START = _DIGEST_START + _DIGEST_SIZE

# KEYS[1]; ARGV: version (20 digits), sealed snapshot, life in ms. Versions are compared as text of one
# length, because Lua's numbers are doubles. What is no string is overwritten.
_STORE_IF_NEWER = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' and string.sub(held, 1, 20) >= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

_ASKED = Counter("jackpot_cache_snapshots_total", "Snapshots asked of the cache.", ["result"])
_HIT, _MISS, _SPOILT = (_ASKED.labels(result) for result in ("hit", "miss", "spoilt"))
_FAILED = Counter("jackpot_cache_failures_total", "Exchanges with the cache that failed or took too long.")
_OPEN = Gauge("jackpot_cache_breaker_open", "1 while the cache is left alone after failures.")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`payload` as it was in version `version` of what `key` names, read or committed at `stamp_ms`."""

    key: str
    version: int
    payload: bytes
    # Milliseconds since 1970.
    stamp_ms: int


@dataclass(frozen=True, slots=True)
class CacheServer:
    """What the cache says about itself: `kind` is dragonfly, valkey or redis, empty if there is none."""

    kind: str
    version: str
    reachable: bool


NO_CACHE = CacheServer("", "", reachable=False)


def now_ms() -> int:
    """The stamp of something that is known to be current now."""
    return time.time_ns() // 1_000_000


class Breaker:
    """Closed until several failures in a row; then open for about a second, after which it is tried again."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0

    @property
    def closed(self) -> bool:
        return time.monotonic() >= self._open_until

    def succeeded(self) -> None:
        if self._failures >= FAILURES_TO_OPEN:
            _log.info("cache_recovered")
            _OPEN.set(0)
        self._failures = 0

    def failed(self, error: BaseException) -> None:
        _FAILED.inc()
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._open_until = time.monotonic() + random.uniform(*OPEN_S)  # noqa: S311
        if self._failures == FAILURES_TO_OPEN:
            _log.warning("cache_abandoned", error=type(error).__name__)
            _OPEN.set(1)


class SnapshotCache:
    """Owns the connections to one cache server. `prefix` keeps its keys apart from others' on it."""

    def __init__(self, url: str, prefix: str) -> None:
        self._prefix = prefix
        self._breaker = Breaker()
        # redis-py's own defaults retry ten times and wait five seconds (D1); RESP2 and no maintenance
        # notifications because Dragonfly does not know the others (D2).
        self._client: Redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=LIMIT_S,
                protocol=2,
                socket_timeout=LIMIT_S,
                socket_connect_timeout=LIMIT_S,
                retry=Retry(NoBackoff(), 0),
                driver_info=None,
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
        )

    async def fetch(self, keys: Sequence[str]) -> dict[str, Snapshot]:
        """The snapshots of `keys` that are there, whole and young enough. Spoilt ones are removed."""
        values = await self._exchange("MGET", *map(self._name, keys))
        if not isinstance(values, list) or len(values) != len(keys):
            return {}
        found: dict[str, Snapshot] = {}
        spoilt: list[str] = []
        for key, value in zip(keys, values, strict=True):
            if value is None:
                _MISS.inc()
                continue
            snapshot = unseal(key, value)
            if snapshot is None:
                _SPOILT.inc()
                spoilt.append(key)
            else:
                _HIT.inc()
                found[key] = snapshot
        if spoilt:
            # A stranger's value, or one that never expires. Its version could bar the true ones for ever.
            _log.warning("cached_snapshots_removed", keys=spoilt)
            await self._exchange("DEL", *map(self._name, spoilt))
        return found

    async def store(self, snapshots: Iterable[Snapshot]) -> None:
        """Writes each snapshot unless the cache holds the same version or a newer one."""
        now = now_ms()
        if not self._breaker.closed:
            return
        pipeline = self._client.pipeline(transaction=False)
        for snapshot in snapshots:
            life_ms = snapshot.stamp_ms + random.randint(*TTL_MS) - now  # noqa: S311
            if life_ms > 0:
                version, sealed = seal(snapshot)
                pipeline.execute_command(
                    "EVAL", _STORE_IF_NEWER, 1, self._name(snapshot.key), version, sealed, life_ms
                )
        try:
            async with asyncio.timeout(LIMIT_S):
                await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, ValueError) as error:  # TimeoutError is an OSError
            self._breaker.failed(error)
        else:
            self._breaker.succeeded()

    async def server(self) -> CacheServer:
        """What the cache says about itself; unreachable where it does not answer in time."""
        if await self._exchange("PING") is None:
            return NO_CACHE
        said = await self._exchange("INFO", "server")
        if not isinstance(said, dict):
            return CacheServer("", "", reachable=True)
        for kind in ("dragonfly", "valkey", "redis"):
            version = said.get(f"{kind}_version")
            if version:
                return CacheServer(kind, str(version), reachable=True)
        return CacheServer("", "", reachable=True)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"

    async def _exchange(self, *command: str) -> Any:
        """The answer to one command; None if there is none in time, or the breaker is open."""
        if not self._breaker.closed:
            return None
        try:
            async with asyncio.timeout(LIMIT_S):
                answer = await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        except (RedisError, OSError, ValueError) as error:
            self._breaker.failed(error)
            return None
        self._breaker.succeeded()
        return answer


def seal(snapshot: Snapshot) -> tuple[bytes, bytes]:
    """The version as the store script compares it, and the value: version, stamp, digest, payload."""
    version = b"%020d" % snapshot.version
    head = version + b"%013d" % snapshot.stamp_ms
    return version, head + _digest(snapshot.key, head, snapshot.payload) + snapshot.payload


def unseal(key: str, value: bytes) -> Snapshot | None:
    """The snapshot that was sealed for `key`; None if it is anything else, or too old to be shown."""
    head, digest, payload = value[:_DIGEST_START], value[_DIGEST_START:_PAYLOAD_START], value[_PAYLOAD_START:]
    if digest != _digest(key, head, payload):
        return None
    stamp_ms = int(head[_VERSION_DIGITS:])
    # Of another server's clock that is ahead, as well as of a value that outlived its time.
    if abs(now_ms() - stamp_ms) > MAX_AGE_MS:
        return None
    return Snapshot(key, int(head[:_VERSION_DIGITS]), payload, stamp_ms)


def _digest(key: str, head: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(
        b"%s\0%s%s" % (key.encode(), head, payload), digest_size=_DIGEST_SIZE, person=b"pool snapshot 1"
    ).digest()

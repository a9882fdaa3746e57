"""Connections with every time-out set, start-up assertions, and what an error says about the outcome."""

import enum

import asyncpg

from service_kit.errors import Failure, StartRefused, database_unavailable

# The driver waits this much longer than the server's own statement_timeout, so that the server
# speaks first; only a server that is gone lets the driver's limit pass.
COMMAND_TIMEOUT_MARGIN_S = 2.0

# A new database has no statistics: a plan made then would read whole tables until somebody analyses them.
_PLAN_BY_KEY = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}

_READ_DURABILITY = """
SELECT name, setting
FROM pg_catalog.pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
ORDER BY name
"""


class Trouble(enum.Enum):
    """What an error of a statement says about it."""

    # A lock was not had in time, or the statement took too long: it did nothing. Not the data's fault.
    LOCK_TIMEOUT = "lock_timeout"
    # Another transaction was there first: nothing was done, the same batch again may succeed.
    CONFLICT = "conflict"
    # The statement or its data can never succeed: nothing was done, the same again fails again.
    POISON = "poison"
    # Nothing is known: at or after COMMIT the transaction may have been committed (P1).
    UNKNOWN = "unknown"


_LOCK_TIMEOUT_STATES = frozenset({"55P03", "57014"})
_CONFLICT_STATES = frozenset(
    {
        "23505",  # unique_violation
        "40P01",  # deadlock_detected
        "40001",  # serialization_failure
    }
)
# Classes whose errors lie in the statement or its data: cardinality, data, integrity, invalid
# names and syntax (grants included), RAISE in a function, WITH CHECK OPTION, program limits, features.
_POISON_CLASSES = frozenset({"0A", "21", "22", "23", "42", "44", "54", "P0"})


def classify(error: BaseException) -> Trouble:
    """What `error`, raised by a statement, says about the statement.

    UNKNOWN covers everything by which a connection, a server or a failover may have interfered: OSError,
    time-outs, connection errors of the driver and of the server, shutdowns, a server turned
    read-only, and every state that is not understood.
    """
    # The cached plan is older than a migration: the transaction is gone, the next one plans anew.
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return Trouble.CONFLICT
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state in _LOCK_TIMEOUT_STATES:
            return Trouble.LOCK_TIMEOUT
        if state in _CONFLICT_STATES:
            return Trouble.CONFLICT
        return Trouble.POISON if state[:2] in _POISON_CLASSES else Trouble.UNKNOWN
    # A value that the driver could not encode is an InterfaceError *and* a ValueError.
    if isinstance(error, (ValueError, TypeError)):
        return Trouble.POISON
    # What is left is either trouble with the connection (OSError, TimeoutError, InterfaceError,
    # InternalClientError, CancelledError) or not understood; neither says that nothing was done.
    return Trouble.UNKNOWN


# What a database, or the way to it, raises; any other exception is a bug of ours.
DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


def failure_of(error: BaseException) -> Failure | None:
    """DATABASE_UNAVAILABLE if `error` is the database's and not ours (a read met a dead or slow server)."""
    if isinstance(error, DATABASE_ERRORS) and classify(error) is not Trouble.POISON:
        return database_unavailable()
    return None


async def connect(
    dsn: str,
    *,
    application_name: str,
    lock_timeout_ms: int = 1_000,
    statement_timeout_ms: int = 5_000,
    idle_in_transaction_timeout_ms: int = 10_000,
    tcp_user_timeout_ms: int = 10_000,
    connect_timeout_s: float = 5.0,
    statement_cache_size: int = 100,
) -> asyncpg.Connection:
    """One connection for batches, owned by the caller; every time-out is set (the defaults are "for ever").

    Its statements find their rows by keys and are planned once. `dsn` may name several hosts and
    `target_session_attrs=read-write`. `statement_cache_size` must be 0 behind PgBouncer in transaction mode.
    Raises what asyncpg raises, or OSError, or TimeoutError.
    """
    return await asyncpg.connect(
        dsn,
        timeout=connect_timeout_s,
        command_timeout=statement_timeout_ms / 1000 + COMMAND_TIMEOUT_MARGIN_S,
        statement_cache_size=statement_cache_size,
        server_settings=_server_settings(
            application_name,
            lock_timeout_ms,
            statement_timeout_ms,
            idle_in_transaction_timeout_ms,
            tcp_user_timeout_ms,
        )
        | _PLAN_BY_KEY,
    )


async def create_pool(
    dsn: str,
    *,
    application_name: str,
    max_size: int = 4,
    min_size: int = 0,
    lock_timeout_ms: int = 1_000,
    statement_timeout_ms: int = 5_000,
    idle_in_transaction_timeout_ms: int = 10_000,
    tcp_user_timeout_ms: int = 10_000,
    connect_timeout_s: float = 5.0,
    statement_cache_size: int = 100,
) -> asyncpg.Pool:
    """A pool for reads, owned by the caller, with the time-outs of `connect`.

    A read must leave its session as it was: nothing but an open transaction is undone after it, which saves
    every read a second round trip. With `min_size` 0 it opens its first connection at the first use, so a
    server can start while its database is away.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        timeout=connect_timeout_s,
        command_timeout=statement_timeout_ms / 1000 + COMMAND_TIMEOUT_MARGIN_S,
        statement_cache_size=statement_cache_size,
        server_settings=_server_settings(
            application_name,
            lock_timeout_ms,
            statement_timeout_ms,
            idle_in_transaction_timeout_ms,
            tcp_user_timeout_ms,
        ),
        reset=_nothing_to_reset,
    )


async def _nothing_to_reset(_connection: asyncpg.Connection) -> None:
    pass


async def assert_durable(connection: asyncpg.Connection, *, allow_unsafe: bool) -> list[str]:
    """Refuses (StartRefused) a database that may forget what it confirmed, unless `allow_unsafe`.

    Looks at fsync, full_page_writes and synchronous_commit as this session has them. Returns the
    names of those that are off, for a warning; empty when all is well.
    """
    rows = await connection.fetch(_READ_DURABILITY)
    off = [row["name"] for row in rows if row["setting"] == "off"]
    if off and not allow_unsafe:
        raise StartRefused(
            f"The database runs with {', '.join(f'{name} = off' for name in off)}: it may forget money that "
            "it confirmed. Turn it on, or allow it explicitly for a throw-away database."
        )
    return off


def _server_settings(
    application_name: str,
    lock_timeout_ms: int,
    statement_timeout_ms: int,
    idle_in_transaction_timeout_ms: int,
    tcp_user_timeout_ms: int,
) -> dict[str, str]:
    return {
        "application_name": application_name,
        "lock_timeout": str(lock_timeout_ms),
        "statement_timeout": str(statement_timeout_ms),
        "idle_in_transaction_session_timeout": str(idle_in_transaction_timeout_ms),
        "tcp_user_timeout": str(tcp_user_timeout_ms),
        # Compiling a plan costs more than any statement of a batch.
        "jit": "off",
    }

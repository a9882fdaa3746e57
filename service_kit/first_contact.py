"""A server's first contact with its database: wait until it answers, then see whether it may be served."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from service_kit.database import assert_durable, failure_of
from service_kit.settings import DatabaseSettings
from service_kit.telemetry import get_log

_log = get_log("database")

_PAUSE_S: Final = 0.5


async def wait_until_servable(
    settings: DatabaseSettings, name: str, has_schema: Callable[[asyncpg.Connection], Awaitable[None]]
) -> None:
    """Returns when the database answers, keeps what it confirms and `has_schema` does not raise.

    StartRefused if it might forget (unless the settings allow that).
    """
    connection = await _wait_for_database(settings, f"{name} start")
    try:
        unsafe = await assert_durable(connection, allow_unsafe=settings.database_allow_unsafe)
        await has_schema(connection)
    finally:
        await connection.close()
    if unsafe:
        _log.warning("database_may_forget", off=unsafe)


async def _wait_for_database(settings: DatabaseSettings, application_name: str) -> asyncpg.Connection:
    """The first connection, owned by the caller; a database that is away is asked again until it answers."""
    while True:
        try:
            return await settings.connect(application_name)
        except Exception as error:
            if failure_of(error) is None:
                raise
            _log.warning("database_not_reached", error=type(error).__name__)
        await asyncio.sleep(_PAUSE_S)

from collections.abc import AsyncIterator

import pytest

from jackpot_outbox import sidecar
from jackpot_outbox.settings import OutboxSettings, SidecarSettings
from service_kit.database import connect
from tests.integration.jackpot_outbox.jackpot_double import JackpotDouble
from tests.integration.jackpot_outbox.wallet_double import CREDITS, Look, quick


@pytest.fixture
async def wallet_dsn(empty_dsn: str) -> str:
    """A wallet's database with the outbox's tables."""
    settings = SidecarSettings(database_dsn=empty_dsn)  # type: ignore[arg-type]
    assert await sidecar.migrate(settings)
    return empty_dsn


@pytest.fixture
async def look(wallet_dsn: str) -> AsyncIterator[Look]:
    connection = await connect(wallet_dsn, application_name="look")
    await connection.execute(CREDITS)
    yield Look(connection)
    await connection.close()


@pytest.fixture
async def jackpot() -> AsyncIterator[JackpotDouble]:
    double = JackpotDouble()  # type: ignore[abstract]
    await double.start()
    yield double
    double.hangs.set()
    await double.stop()


@pytest.fixture
def settings(jackpot: JackpotDouble) -> OutboxSettings:
    return quick(jackpot.address)

"""Real servers for the tests: one PostgreSQL and one Valkey per test process, fresh databases per test."""

import asyncio
import os
import secrets
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from devstack.postgres import Cluster
from devstack.valkey import Valkey
from tests.support.cache import dragonfly_double, flush
from tests.support.cluster import TestCluster


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the event loop that the servers run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestCluster]:
    """The PostgreSQL server of this test process: POSTGRES_DSN (a superuser's), else one started here."""
    if named := os.environ.get("POSTGRES_DSN"):
        running = TestCluster(named, None)
        yield running
        running.drop_templates()
        return
    cluster = Cluster(tmp_path_factory.mktemp("postgres"), password=secrets.token_hex(16))
    cluster.start()
    yield TestCluster(cluster.dsn(), cluster)
    cluster.stop()


@pytest.fixture
def spins_dsn(postgres: TestCluster) -> Iterator[str]:
    """A fresh, migrated spins database, as the superuser."""
    with postgres.fresh("spins") as dsn:
        yield dsn


@pytest.fixture
def jackpots_dsn(postgres: TestCluster) -> Iterator[str]:
    """A fresh, migrated jackpots database, as the superuser."""
    with postgres.fresh("jackpots") as dsn:
        yield dsn


@pytest.fixture
def empty_dsn(postgres: TestCluster) -> Iterator[str]:
    """A fresh database without any table, as the superuser."""
    with postgres.empty() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The Valkey of this test process. A test that kills or suspends it starts or resumes it again."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    """An empty Valkey."""
    flush(valkey.url)
    return valkey.url


@pytest.fixture(scope="session")
def _dragonfly_double() -> Iterator[str]:
    with dragonfly_double() as url:
        yield url


@pytest.fixture
def fakeredis_url(_dragonfly_double: str) -> str:
    """An empty fakeredis in its Dragonfly mode."""
    flush(_dragonfly_double)
    return _dragonfly_double


@pytest.fixture(params=["valkey", "dragonfly"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """Each of the two in turn."""
    name = {"valkey": "valkey_url", "dragonfly": "fakeredis_url"}[request.param]
    url: str = request.getfixturevalue(name)
    return url

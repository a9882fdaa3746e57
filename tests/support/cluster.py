"""Databases for tests: one migrated template per server, one fresh copy per test."""

import asyncio
import itertools
import os
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import asyncpg

from devstack.postgres import Cluster, with_database
from service_kit.migrate import upgrade

Kind = Literal["spins", "jackpots"]
PACKAGES: dict[Kind, str] = {"spins": "spin_server", "jackpots": "jackpot_server"}
APP_ROLES: dict[Kind, str] = {"spins": "spin_app", "jackpots": "jackpot_app"}


@dataclass
class TestCluster:
    """One PostgreSQL server as its superuser, and the databases that tests made in it.

    `cluster` is its process, for tests that kill it; None where POSTGRES_DSN names a running server.
    """

    __test__ = False

    dsn: str
    cluster: Cluster | None
    _templates: dict[Kind, str] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def template(self, kind: Kind) -> str:
        """Name of the migrated database of this server that others are copied from; made at first use."""
        if kind not in self._templates:
            name = self._new_name(f"{kind}_template")
            _apart(self._make_template(kind, name))
            self._templates[kind] = name
        return self._templates[kind]

    @contextmanager
    def fresh(self, kind: Kind) -> Iterator[str]:
        """A migrated, empty database (its DSN); dropped at the end, whoever is still connected."""
        template, name = self.template(kind), self._new_name(kind)
        role = APP_ROLES[kind]
        # A copy does not take the template's rights to connect with it.
        self._run(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}"',
            f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC',
            f'GRANT CONNECT ON DATABASE "{name}" TO {role}',
        )
        try:
            yield with_database(self.dsn, name)
        finally:
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def empty(self) -> Iterator[str]:
        """A database without any table (its DSN), for tests of the migrations themselves."""
        name = self._new_name("empty")
        self._run(f'CREATE DATABASE "{name}"')
        try:
            yield with_database(self.dsn, name)
        finally:
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def drop_templates(self) -> None:
        """Leaves a server that is not ours as it was found."""
        for name in self._templates.values():
            self._run(f'ALTER DATABASE "{name}" IS_TEMPLATE false', f'DROP DATABASE "{name}" WITH (FORCE)')
        self._templates.clear()

    def _new_name(self, prefix: str) -> str:
        return f"{prefix}_{os.getpid()}_{next(self._numbers)}"

    def _run(self, *statements: str) -> None:
        _apart(_execute(self.dsn, statements))

    async def _make_template(self, kind: Kind, name: str) -> None:
        await _execute(self.dsn, [f'CREATE DATABASE "{name}"'])
        await upgrade(with_database(self.dsn, name), PACKAGES[kind])
        # Nobody may be connected to a database while it is copied.
        await _execute(self.dsn, [f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false IS_TEMPLATE true'])


def _apart(work: Coroutine[Any, Any, None]) -> None:
    """Does it on a thread and a loop of its own, because the caller may be an async test."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def _execute(dsn: str, statements: Sequence[str]) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()

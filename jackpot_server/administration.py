"""Changes by people, each in a transaction of its own; where two must agree, the second one's call does it.

A request is known by its id: asked again it is answered as it stands. The catalog's lock orders all of them,
also those of other replicas, so a request is never carried out twice (see docs/administration.md).
"""

from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from jackpot_server.admin_transaction import AdminCommand, AdminTransaction, Approval
from jackpot_server.keys import RootKeys
from service_kit.batch_writer import BatchWriter
from service_kit.group_commit import GroupCommit

MAX_WAITING: Final = 100


class Administration:
    """Carries out what people ask for, one by one. Errors: Refusal, or Failure (repeat the call)."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], root_keys: RootKeys) -> None:
        self._writer: BatchWriter[AdminCommand, Approval] = BatchWriter(
            connect, AdminTransaction(root_keys), lock_keys=lambda _: ("catalog",), max_batch=1
        )
        self._group: GroupCommit[AdminCommand, Approval] = GroupCommit(
            self._writer.write,
            key=lambda command: command.request_id,
            max_batch=1,
            max_waiting=MAX_WAITING,
            name="administration",
        )

    def start(self) -> None:
        """Starts the task that writes."""
        self._group.start()

    async def ask(self, command: AdminCommand) -> Approval:
        """Carries it out, or remembers that it was asked for; durable when it returns. May be repeated."""
        return await self._group.submit(command)

    async def close(self) -> None:
        """Finishes what was taken, closes the connections."""
        await self._group.close()
        await self._writer.close()

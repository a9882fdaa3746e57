"""The one committer: every command that changes money, in arrival order, a batch per transaction."""

from asyncio import Future
from collections.abc import Awaitable, Callable, Hashable, Sequence
from time import perf_counter
from typing import Final, cast

import asyncpg

from jackpot_server import metrics
from jackpot_server.domain.catalog import Catalog
from jackpot_server.domain.commands import Acknowledge, Contribute, Void
from jackpot_server.domain.decision import (
    Command,
)
from jackpot_server.domain.facts import Acknowledged, Recorded, Voided
from jackpot_server.domain.pool import PoolView
from jackpot_server.keys import RootKeys
from jackpot_server.narration import Narration
from jackpot_server.transaction import Answer, JackpotTransaction
from service_kit.batch_writer import BatchWriter
from service_kit.group_commit import GroupCommit, Later

MAX_BATCH: Final = 500
MAX_WAITING: Final = 20_000


class Committer:
    """Owns the queue, the connections and the transactions. Errors: Refusal, or Failure (repeat the call).

    `on_commit(views)` gets the pools that a batch changed, after its COMMIT; it must neither block nor raise.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        root_keys: RootKeys,
        *,
        on_commit: Callable[[Sequence[PoolView]], None],
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._narration = Narration()
        self._connect = connect
        self._transaction = JackpotTransaction(root_keys, on_commit, self._narration)
        self._writer: BatchWriter[Command, Answer] = BatchWriter(
            connect,
            self._transaction,
            lock_keys=self._transaction.pool_keys,
            max_batch=max_batch,
            committed=self._transaction.committed,
            more_waits=lambda: self._group.waiting > 0,
        )
        self._group: GroupCommit[Command, Answer] = GroupCommit(
            self._write,
            key=_id_of,
            max_batch=max_batch,
            max_waiting=max_waiting,
            name="jackpot committer",
        )

    @property
    def catalog(self) -> Catalog:
        """Pools and configurations: every share that was answered has its label here."""
        return self._transaction.rules.catalog

    @property
    def waiting(self) -> int:
        """Commands that no batch has taken yet."""
        return self._group.waiting

    async def start(self) -> None:
        """Reads the rules, then starts the task that writes.

        Raises StartRefused if the root key is not the one of the committed seeds; else what asyncpg raises.
        """
        connection = await self._connect()
        try:
            await self._transaction.load(connection)
        finally:
            await connection.close()
        self._group.start()

    async def close(self) -> None:
        """Refuses new commands with DRAINING, finishes what was taken, closes the connections."""
        await self._group.close()
        await self._writer.close()
        self._narration.close()

    async def contribute(self, command: Contribute) -> Recorded:
        """Records a contribution and makes its draws; durable when it returns. May be repeated."""
        return cast(Recorded, await self._group.submit(command))

    async def contribute_many(self, commands: Sequence[Contribute]) -> list[Recorded | Exception]:
        """`results[i]` answers `commands[i]`, as `contribute` would; the second of two equal ids is a repeat.

        Raises OVERLOADED or DRAINING, having taken none.
        """
        results = cast("list[Recorded | Exception]", await self._group.submit_many(commands))
        if len({command.spin_id for command in commands}) < len(commands):
            _mark_repeats(commands, results)
        return results

    async def acknowledge(self, command: Acknowledge) -> Acknowledged:
        """Takes a wallet's word about a win; durable when it returns. May be repeated."""
        return cast(Acknowledged, await self._group.submit(command))

    async def void(self, command: Void) -> Voided:
        """Takes a contribution back, even before it comes; durable when it returns. May be repeated."""
        return cast(Voided, await self._group.submit(command))

    async def _write(self, commands: list[Command]) -> Sequence[Answer | Exception | Later | Future[Answer]]:
        self._narration.begun(commands)
        started = perf_counter()
        results = await self._writer.write(commands)
        metrics.BATCH_COMMANDS.observe(len(commands))
        metrics.BATCH_SECONDS.observe(perf_counter() - started)
        self._narration.ended(commands, results)
        return results


def _id_of(command: Command) -> Hashable:
    if isinstance(command, Acknowledge):
        return command.pool_id, command.spin_id
    return command.spin_id


def _mark_repeats(commands: Sequence[Contribute], results: list[Recorded | Exception]) -> None:
    """Equal commands of one call were answered together; all but the first are repeats."""
    seen = set()
    for index, (command, result) in enumerate(zip(commands, results, strict=True)):
        if command.spin_id in seen and isinstance(result, Recorded):
            results[index] = result._replace(replayed=True)
        seen.add(command.spin_id)

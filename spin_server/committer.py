"""The one committer: every command that changes money, in arrival order, a batch per transaction.

Answers of the jackpot server that move no money have a second one: no spin has to wait for them.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from functools import partial
from itertools import chain
from time import perf_counter
from typing import cast
from uuid import UUID

import asyncpg

from jackpot_outbox.rows import AcknowledgementRow, Booked, Booking, ContributionRow, Outcome, Row
from jackpot_outbox.telemetry import observe_lag
from service_kit.batch_writer import BatchWriter
from service_kit.group_commit import GroupCommit, Later
from service_kit.telemetry import get_log
from spin_server import metrics
from spin_server.domain.commands import Play, Settle, SpinCommand, Void, WalletCommand
from spin_server.domain.facts import SpinRecord
from spin_server.domain.game import GameCategory
from spin_server.domain.settle import Rules
from spin_server.narration import SpinSummary
from spin_server.transaction import Answer, Command, MoveAnswer, SpinAnswer, SpinTransaction, VoidAnswer

log = get_log("committer")

Written = Answer | Exception | Later | asyncio.Future[Answer]


class Committer:
    """Owns the queue, the connections and the transactions. Errors: Refusal, or Failure (repeat the call).

    `on_commit(rows)` gets the outbox rows of a batch, `on_booked(spin_ids)` the spins whose jackpot is now
    known; both are called after COMMIT and must neither block nor raise. Neither is called for a spin that
    takes no part in a jackpot.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        rules: Rules,
        *,
        max_batch: int,
        max_waiting: int,
        on_commit: Callable[[Sequence[Row]], None],
        on_booked: Callable[[Collection[UUID]], None],
    ) -> None:
        self._on_commit = on_commit
        self._on_booked = on_booked
        self._summary = SpinSummary()
        transaction = SpinTransaction(rules)
        self._writers: list[BatchWriter[Command, Answer]] = [
            BatchWriter(
                connect, transaction, look=transaction.look, lock_keys=_wallets_of, max_batch=max_batch
            )
            for _ in range(2)
        ]
        self._money, self._answers = (
            GroupCommit[Command, Answer](
                partial(self._write, writer),
                key=_id_of,
                max_batch=max_batch,
                max_waiting=max_waiting,
                name=name,
            )
            for name, writer in zip(("spin committer", "answers"), self._writers, strict=True)
        )

    def start(self) -> None:
        """Starts the tasks that write."""
        self._money.start()
        self._answers.start()

    async def close(self) -> None:
        """Refuses new commands with DRAINING, finishes what was taken, closes the connections."""
        await self._money.close()
        await self._answers.close()
        for writer in self._writers:
            await writer.close()
        self._summary.close()

    async def spin(self, command: SpinCommand) -> SpinAnswer:
        """Books a spin; durable when it returns. May be repeated, and cancelled without harm."""
        return cast(SpinAnswer, await self._money.submit(command))

    async def void(self, command: Void) -> VoidAnswer:
        """Takes a spin back, even before it comes; durable when it returns. May be repeated."""
        return cast(VoidAnswer, await self._money.submit(command))

    async def wallet(self, command: WalletCommand) -> MoveAnswer:
        """Creates a wallet or moves its money; durable when it returns. May be repeated."""
        return cast(MoveAnswer, await self._money.submit(command))

    async def book(self, booking: Booking) -> Booked:
        """Books answers of the jackpot server and credits wins; durable when it returns. May be repeated."""
        group = self._money if booking.wallet_ids else self._answers
        return cast(Booked, await group.submit(booking))

    async def _write(self, writer: BatchWriter[Command, Answer], items: list[Command]) -> Sequence[Written]:
        started = perf_counter()
        results = await writer.write(items)
        metrics.BATCH_COMMANDS.observe(len(items))
        metrics.BATCH_SECONDS.observe(perf_counter() - started)
        self._announce(items, results)
        return results

    def _announce(self, items: Sequence[Command], results: Sequence[Written]) -> None:
        """Tells of what has been committed. An item of the slow lane is told of when it is done."""
        rows: list[Row] = []
        categories: Counter[int] = Counter()
        ended_spins: set[UUID] = set()
        for item, result in zip(items, results, strict=True):
            if isinstance(result, SpinAnswer):
                record = result.spin.record
                if result.replayed:
                    metrics.SPINS_REPLAYED.inc()
                    continue
                categories[record.game_category] += 1
                if record.has_jackpot:
                    rows.append(_contribution_row(record))
            elif isinstance(result, VoidAnswer):
                if not result.replayed:
                    metrics.SPINS_VOIDED.inc()
                if result.row is not None:
                    rows.append(result.row)
            elif isinstance(result, Booked):
                rows += result.acknowledgements
                _tell_of_wins(result.acknowledgements)
                ended_spins.update(result.ended_spins)
            elif isinstance(result, asyncio.Future):
                result.add_done_callback(partial(self._announce_late, item))
        if categories:
            self._summary.settled(categories.total(), categories[GameCategory.SLOTS])
        for category, count in categories.items():
            metrics.SPINS_SETTLED.labels(GameCategory(category).name).inc(count)
        if ended_spins:
            bookings = [item for item in items if isinstance(item, Booking)]
            observe_lag(chain.from_iterable(booking.answers for booking in bookings), ended_spins)
            self._on_booked(ended_spins)
        if rows:
            self._on_commit(rows)

    def _announce_late(self, item: Command, done: "asyncio.Future[Answer]") -> None:
        if not done.cancelled() and done.exception() is None:
            self._announce([item], [done.result()])


def _id_of(command: Command) -> Hashable:
    """The idempotency key; a booking is only equal to itself."""
    if isinstance(command, (Settle, Play)):
        return command.terms.spin_id
    if isinstance(command, Void):
        return command.spin_id
    return command if isinstance(command, Booking) else command.request_id


def _wallets_of(command: Command) -> Collection[Hashable]:
    if isinstance(command, (Settle, Play)):
        return (command.terms.wallet_id,)
    return command.wallet_ids if isinstance(command, Booking) else (command.wallet_id,)


def _contribution_row(record: SpinRecord) -> ContributionRow:
    """The outbox row that was written with the spin."""
    terms = record.terms
    return ContributionRow(
        spin_id=terms.spin_id,
        operator_id=terms.operator_id,
        user_id=terms.user_id,
        wallet_id=terms.wallet_id,
        currency_code=terms.currency_code,
        wager_minor=terms.wager_minor,
        game_category=record.game_category,
        game_id=terms.game_id,
        provider_name=terms.provider_name,
        provider_round_id=terms.provider_round_id,
        stake_kind=terms.stake_kind,
        country_code=terms.country_code,
        client_seed=terms.client_seed,
        triggered_tiers=tuple(terms.triggered_tiers.split(",")) if terms.triggered_tiers else (),
        occur_time=record.settle_time,
    )


def _tell_of_wins(acts: Sequence[AcknowledgementRow]) -> None:
    for act in acts:
        if act.outcome is Outcome.CREDITED:
            log.info(
                "jackpot_win_credited",
                win=act.win,
                amount_minor=act.credited_minor,
                currency_code=act.currency_code,
                wallet_entry_id=act.wallet_entry_id,
            )
        elif act.outcome is Outcome.FAILED:
            log.error("jackpot_win_not_credited", win=act.win, reason=act.failure_reason)

"""What one batch does: lock the wallets, decide in memory, write sets, between BEGIN and COMMIT.

Statements of spins alone, whatever their number: lock, write; and one look at the ids that turned out to be
known or were refused. Wallet commands add a look and a write; bookings what `book` needs.

Most batches have a shorter way, of two statements and no BEGIN or COMMIT: look at the wallets without locking
them, decide, then lock and write in one statement, which writes nothing if one of them has moved meanwhile.
Answers of the jackpot server that bring no win need one statement. See docs/decisions/0009.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

import asyncpg

from jackpot_outbox.booking import book, book_plain
from jackpot_outbox.rows import Booked, Booking, VoidRow
from service_kit.batch_writer import WriteAtOnce
from spin_server import store
from spin_server.credit import credit_to
from spin_server.domain.commands import (
    CreateWallet,
    MoveMoney,
    Play,
    Settle,
    SpinCommand,
    Void,
    WalletCommand,
)
from spin_server.domain.facts import NOT_APPLICABLE, PENDING, NewSpin, Refused, SettledSpin
from spin_server.domain.money_moves import WalletMove, answer_repeated_request, create_wallet, move_money
from spin_server.domain.settle import Rules, answer_repeat, settle
from spin_server.domain.void import NewVoid, void
from spin_server.domain.wallet import Wallet
from spin_server.refusals import refusal

Command = Settle | Play | Void | CreateWallet | MoveMoney | Booking


@dataclass(frozen=True, slots=True)
class SpinAnswer:
    """A spin that is booked; `began_ns` is when its batch began (perf_counter_ns)."""

    spin: SettledSpin
    replayed: bool
    began_ns: int


@dataclass(frozen=True, slots=True)
class MoveAnswer:
    """A wallet request that took effect."""

    move: WalletMove
    replayed: bool


@dataclass(frozen=True, slots=True)
class VoidAnswer:
    """A spin that is voided; `row` is what was written for the jackpot server with it, if anything."""

    spin: SettledSpin
    replayed: bool
    row: VoidRow | None = None


Answer = SpinAnswer | VoidAnswer | MoveAnswer | Booked


class SpinTransaction:
    """The `transact` and the `look` of the spin server's BatchWriter; keeps nothing between two batches."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    async def __call__(
        self, connection: asyncpg.Connection, items: list[Command], must_write: bool
    ) -> Sequence[Answer | Exception]:
        """`results[i]` answers `items[i]`; a Refusal is that item's alone. Raises what the database raises.

        Commands are decided in arrival order. Bookings come after them (the order of locks: wallets, spins,
        wins, outbox, cursors) and as one set: the first one's result tells of all of them.
        """
        batch = _Batch(await _lock(connection, items), self._rules, len(items))
        void_ids = [item.spin_id for item in items if isinstance(item, Void)]
        voided = await store.find_spins(connection, void_ids) if void_ids else {}
        bookings: dict[int, Booking] = {}
        for index, item in enumerate(items):
            if isinstance(item, (Settle, Play)):
                batch.settle(index, item)
            elif isinstance(item, Void):
                batch.void(index, item, voided.get(item.spin_id))
            elif isinstance(item, Booking):
                batch.results[index] = Booked()
                bookings[index] = item
            else:
                batch.move(index, item)
        await batch.answer_repeats(connection)
        await batch.write(connection)
        if bookings:
            credit = credit_to(batch.wallets, batch.now)
            booked = await book(connection, list(bookings.values()), credit=credit, must_write=must_write)
            batch.results[min(bookings)] = booked
        elif must_write and not (batch.spins or batch.moves or batch.voids):
            await store.touch_wallets(connection, batch.wallets)
        return batch.results

    async def look(self, connection: asyncpg.Connection, items: list[Command]) -> WriteAtOnce[Answer] | None:
        """The short way of a batch of new spins that are all settled, or of answers without wins."""
        spins = [item for item in items if isinstance(item, (Settle, Play))]
        if len(spins) == len(items):
            return await self._look_at_spins(connection, spins)
        bookings = [item for item in items if isinstance(item, Booking) and item.is_plain]
        if len(bookings) == len(items):
            return partial(book_plain, bookings)
        return None

    async def _look_at_spins(
        self, connection: asyncpg.Connection, spins: Sequence[SpinCommand]
    ) -> WriteAtOnce[Answer] | None:
        wallet_ids = {spin.terms.wallet_id for spin in spins}
        found = await store.look_at_wallets(connection, wallet_ids, [spin.terms.spin_id for spin in spins])
        seen_counts = [wallet.entry_count for wallet in found.wallets.values()]
        batch = _Batch(found, self._rules, len(spins))
        for index, spin in enumerate(spins):
            batch.settle(index, spin)
        return partial(batch.write_if_unchanged, seen_counts) if len(batch.spins) == len(spins) else None


async def _lock(connection: asyncpg.Connection, items: Sequence[Command]) -> store.Found:
    wallet_ids: set[str] = set()
    spin_ids = []
    request_ids = []
    for item in items:
        if isinstance(item, (Settle, Play)):
            wallet_ids.add(item.terms.wallet_id)
            spin_ids.append(item.terms.spin_id)
        elif isinstance(item, Void):
            wallet_ids.add(item.wallet_id)
        elif isinstance(item, Booking):
            wallet_ids |= item.wallet_ids
        else:
            wallet_ids.add(item.wallet_id)
            request_ids.append(item.request_id)
    return await store.lock_wallets(connection, wallet_ids, spin_ids, request_ids)


class _Batch:
    """One batch in memory: its wallets as they become, its results, and what is to be written."""

    def __init__(self, found: store.Found, rules: Rules, size: int) -> None:
        self.began_ns = perf_counter_ns()
        self.now = found.now
        self.wallets = found.wallets
        self.results: list[Answer | Exception] = [_UNDECIDED] * size
        self.spins: list[NewSpin] = []
        self.moves: list[WalletMove] = []
        self.voids: list[NewVoid] = []
        self._rules = rules
        self._known_spins = found.known_spins
        self._known_requests = found.known_requests
        self._created: dict[str, Wallet] = {}
        self._moved: dict[str, Wallet] = {}
        # To be looked at once more, by index: known ids, and refused ones, which may have been committed
        # by somebody else while this batch waited for the wallets' locks.
        self._spins_to_find: dict[int, SpinCommand] = {}
        self._moves_to_find: dict[int, WalletCommand] = {}

    def settle(self, index: int, command: SpinCommand) -> None:
        """Decides a spin, or leaves it to `answer_repeats`."""
        terms = command.terms
        if terms.spin_id in self._known_spins:
            self._spins_to_find[index] = command
            return
        spin = settle(command, self.wallets, self._rules, self.now)
        if isinstance(spin, Refused):
            self._spins_to_find[index] = command
            self.results[index] = refusal(spin)
            return
        jackpot = PENDING if spin.record.has_jackpot else NOT_APPLICABLE
        self.results[index] = SpinAnswer(SettledSpin(spin.record, jackpot), False, self.began_ns)
        self.spins.append(spin)
        self._note_move(terms.wallet_id)

    def void(self, index: int, command: Void, spin: SettledSpin | None) -> None:
        """Decides a void; `spin` was read under the locks."""
        voided = void(command, spin, self.wallets, self.now)
        if isinstance(voided, Refused):
            self.results[index] = refusal(voided)
        elif isinstance(voided, SettledSpin):
            self.results[index] = VoidAnswer(voided, True)
        else:
            self.results[index] = VoidAnswer(voided.spin, False, _void_row(voided))
            self.voids.append(voided)
            if voided.entries:
                self._note_move(command.wallet_id)

    def move(self, index: int, command: WalletCommand) -> None:
        """Decides a wallet request, or leaves it to `answer_repeats`."""
        if command.request_id in self._known_requests:
            self._moves_to_find[index] = command
            return
        if isinstance(command, CreateWallet):
            move = create_wallet(command, self.wallets, self.now)
        else:
            move = move_money(command, self.wallets, self.now)
        if isinstance(move, Refused):
            self._moves_to_find[index] = command
            self.results[index] = refusal(move)
            return
        self.results[index] = MoveAnswer(move, False)
        self.moves.append(move)
        if isinstance(command, CreateWallet):
            self._created[command.wallet_id] = self.wallets[command.wallet_id]
        else:
            self._note_move(command.wallet_id)

    async def answer_repeats(self, connection: asyncpg.Connection) -> None:
        """Answers the ids that are known as the first time, with the jackpot as it is now."""
        if self._spins_to_find:
            ids = [command.terms.spin_id for command in self._spins_to_find.values()]
            spins = await store.find_spins(connection, ids)
            for index, command in self._spins_to_find.items():
                if spin := spins.get(command.terms.spin_id):
                    record = answer_repeat(command, spin.record)
                    self.results[index] = (
                        refusal(record)
                        if isinstance(record, Refused)
                        else SpinAnswer(spin, True, self.began_ns)
                    )
        if self._moves_to_find:
            ids = [command.request_id for command in self._moves_to_find.values()]
            moves = await store.find_requests(connection, ids)
            for index, request in self._moves_to_find.items():
                if first := moves.get(request.request_id):
                    move = answer_repeated_request(request, first, self.wallets.get(request.wallet_id))
                    self.results[index] = (
                        refusal(move) if isinstance(move, Refused) else MoveAnswer(move, True)
                    )

    async def write(self, connection: asyncpg.Connection) -> None:
        """Writes what was decided; the wallets move with the spins, or else with the requests."""
        entries = [move.entry for move in self.moves if move.entry]
        for voided in self.voids:
            entries += voided.entries
        if self.moves or entries:
            await store.write_money(
                connection,
                list(self._created.values()),
                [move.request for move in self.moves],
                entries,
                () if self.spins else self._moved.values(),
            )
        if self.voids:
            voids = sorted(self.voids, key=lambda voided: voided.command.spin_id)
            rows = [row for voided in voids if (row := _void_row(voided))]
            await store.write_voids(connection, voids, rows, self.now)
        if self.spins:
            await store.write_spins(connection, self.spins, self.now, self._moved.values())

    async def write_if_unchanged(
        self, seen_counts: Sequence[int], connection: asyncpg.Connection
    ) -> Sequence[Answer | Exception] | None:
        """Writes spins that were decided on unlocked wallets; None if one of these has moved since."""
        wallets = list(self.wallets.values())
        is_written = await store.write_spins_if_unchanged(
            connection, self.spins, self.now, wallets, seen_counts
        )
        return self.results if is_written else None

    def _note_move(self, wallet_id: str) -> None:
        if wallet_id not in self._created:  # a new wallet is inserted as it is after the batch
            self._moved[wallet_id] = self.wallets[wallet_id]


def _void_row(voided: NewVoid) -> VoidRow | None:
    """What is written for the jackpot server: nothing, if the spin took no part in a jackpot."""
    command = voided.command
    if not voided.spin.record.has_jackpot:
        return None
    return VoidRow(command.spin_id, command.operator_id, voided.credited_wins, command.reason)


# Stands for a known id until `answer_repeats` has found it.
_UNDECIDED = RuntimeError("a known id was not found again")

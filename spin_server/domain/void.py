"""Takes spins back: what a void does to its wallet, or why it does nothing (V1 to V7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from spin_server.domain.commands import SpinMethod, SpinTerms, StakeKind, Void
from spin_server.domain.facts import (
    NOT_APPLICABLE,
    PENDING,
    Reason,
    Refused,
    SettledSpin,
    SpinRecord,
    WalletEntry,
    WinState,
)
from spin_server.domain.game import GameCategory
from spin_server.domain.wallet import MAX_BALANCE_MINOR, EntryKind, Wallet


@dataclass(frozen=True, slots=True)
class NewVoid:
    """A void that takes effect.

    `credited_wins`: names of the spin's jackpot wins that are in the wallet already; they stay there.
    `entries` give the stake back and take the payout. Of a spin that has not arrived there is neither.
    """

    command: Void
    spin: SettledSpin
    credited_wins: tuple[str, ...]
    entries: tuple[WalletEntry, ...]
    void_time: datetime

    @property
    def is_ahead(self) -> bool:
        return self.spin.record.method is SpinMethod.VOIDED_AHEAD


def void(
    command: Void, spin: SettledSpin | None, wallets: Mapping[str, Wallet], now: datetime
) -> NewVoid | SettledSpin | Refused:
    """Moves the wallet and returns the void; or the spin, if it is voided already; or why not.

    `spin` is what is known of it, read when `wallets` were locked; `now` is the database's clock, read then.
    """
    wallet = wallets.get(command.wallet_id)
    if wallet is None:
        return Refused(Reason.WALLET_NOT_FOUND, "There is no such wallet.")
    if wallet.operator_id != command.operator_id:
        return Refused(Reason.WALLET_MISMATCH, "The wallet is not this operator's.")
    if spin is None:
        return NewVoid(command, _not_arrived(command, wallet, now), (), (), now)
    terms = spin.record.terms
    if (terms.operator_id, terms.wallet_id) != (command.operator_id, command.wallet_id):
        return Refused(Reason.WALLET_MISMATCH, "The spin is not this wallet's.")
    if spin.is_voided:
        return spin
    returned = terms.wager_minor - spin.record.payout_minor
    if wallet.balance_minor + returned < 0:
        return Refused(Reason.INSUFFICIENT_FUNDS, "The wallet no longer holds the payout.")
    if not wallet.has_room_for(returned):
        return Refused(
            Reason.BALANCE_LIMIT_EXCEEDED, f"The stake would lift the wallet above {MAX_BALANCE_MINOR}."
        )
    entries = [
        _entry(command, wallet, kind, amount_minor, now)
        for kind, amount_minor in (
            (EntryKind.STAKE_RETURNED, terms.wager_minor),
            (EntryKind.PAYOUT_RETURNED, -spin.record.payout_minor),
        )
        if amount_minor
    ]
    credited = tuple(win.win for win in spin.jackpot.wins if win.state is WinState.CREDITED)
    jackpot = PENDING if spin.record.has_jackpot else NOT_APPLICABLE
    voided = SettledSpin(spin.record, jackpot, is_voided=True)
    return NewVoid(command, voided, credited, tuple(entries), now)


def _entry(command: Void, wallet: Wallet, kind: EntryKind, amount_minor: int, now: datetime) -> WalletEntry:
    return WalletEntry(
        wallet_id=wallet.wallet_id,
        entry_number=wallet.move(amount_minor),
        kind=kind,
        amount_minor=amount_minor,
        balance_minor=wallet.balance_minor,
        entry_time=now,
        spin_id=command.spin_id,
    )


def _not_arrived(command: Void, wallet: Wallet, now: datetime) -> SettledSpin:
    """What stands for the spin, so that its id is taken."""
    terms = SpinTerms(
        spin_id=command.spin_id,
        operator_id=wallet.operator_id,
        user_id=wallet.user_id,
        wallet_id=wallet.wallet_id,
        game_id="",
        provider_name="",
        provider_round_id="",
        currency_code=wallet.currency_code,
        wager_minor=0,
        stake_kind=StakeKind.CASH,
        country_code="",
        client_seed="",
    )
    record = SpinRecord(
        terms=terms,
        method=SpinMethod.VOIDED_AHEAD,
        game_category=GameCategory.OTHER,
        payout_minor=0,
        balance_minor=wallet.balance_minor,
        has_jackpot=False,
        settle_time=now,
    )
    return SettledSpin(record, NOT_APPLICABLE, is_voided=True)

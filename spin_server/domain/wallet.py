"""A player's wallet while its row is locked: its balance, and the entries that a batch adds to it."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

# Of a wallet, payouts and jackpot wins included; below 2^53, so that JSON clients read it exactly.
MAX_BALANCE_MINOR = 10**15


class EntryKind(IntEnum):
    """As in spin.v1.WalletEntry.Kind."""

    STAKE = 1
    PAYOUT = 2
    JACKPOT_WIN = 3
    STAKE_RETURNED = 4
    PAYOUT_RETURNED = 5
    DEPOSIT = 6
    WITHDRAWAL = 7


@dataclass(slots=True)
class Wallet:
    """A working copy of a locked row. `move` keeps its balance and its gapless entry count together."""

    wallet_id: str
    operator_id: str
    user_id: str
    currency_code: str
    balance_minor: int
    entry_count: int
    is_test: bool
    create_time: datetime

    def move(self, amount_minor: int) -> int:
        """Books one signed amount, which must fit; returns the number of the new entry."""
        self.balance_minor += amount_minor
        self.entry_count += 1
        return self.entry_count

    def has_room_for(self, amount_minor: int) -> bool:
        """Whether the balance stays within its bounds after the signed amount."""
        return 0 <= self.balance_minor + amount_minor <= MAX_BALANCE_MINOR

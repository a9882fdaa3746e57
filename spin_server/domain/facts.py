"""What was decided, as it is stored and answered."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum, auto
from uuid import UUID

from spin_server.domain.commands import SpinMethod, SpinTerms, WalletMethod
from spin_server.domain.wallet import EntryKind


@dataclass(frozen=True, slots=True)
class SpinRecord:
    """A settled spin, as its row tells it for ever. `balance_minor` is the wallet's right after it."""

    terms: SpinTerms
    method: SpinMethod
    game_category: int
    payout_minor: int
    balance_minor: int
    has_jackpot: bool
    settle_time: datetime


@dataclass(frozen=True, slots=True)
class NewSpin:
    """A spin that this batch settles; its entries are numbered from `first_entry` on."""

    record: SpinRecord
    first_entry: int


class JackpotState(IntEnum):
    """As in spin.v1.Spin.JackpotState."""

    NOT_APPLICABLE = 1
    PENDING = 2
    RECORDED = 3
    PARKED = 4
    VOIDED = 5


class WinState(IntEnum):
    """As in spin.v1.JackpotWin.State. UNSPECIFIED: heard of, not in the wallet yet."""

    UNSPECIFIED = 0
    HELD = 1
    CREDITED = 2
    REJECTED = 3
    FAILED = 4


# jackpot.v1.Win.State
_POOL_WIN_HELD = 2
_POOL_WIN_REJECTED = 4


@dataclass(frozen=True, slots=True)
class Share:
    pool: str
    tier: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Win:
    win: str
    pool: str
    tier: str
    currency_code: str
    amount_minor: int
    state: WinState


@dataclass(frozen=True, slots=True)
class JackpotView:
    """What is known of a spin's jackpot now."""

    state: JackpotState
    shares: tuple[Share, ...] = ()
    wins: tuple[Win, ...] = ()


def win_state(pool_state: int, credited: bool, failed: bool) -> WinState:
    """A win as its player sees it: `pool_state` is jackpot.v1.Win.State, the rest what the wallet did."""
    if credited:
        return WinState.CREDITED
    if pool_state == _POOL_WIN_REJECTED:
        return WinState.REJECTED
    if failed:
        return WinState.FAILED
    return WinState.HELD if pool_state == _POOL_WIN_HELD else WinState.UNSPECIFIED


NOT_APPLICABLE = JackpotView(JackpotState.NOT_APPLICABLE)
PENDING = JackpotView(JackpotState.PENDING)


@dataclass(frozen=True, slots=True)
class SettledSpin:
    """A spin as it is answered: what was decided for ever, and its jackpot as of now."""

    record: SpinRecord
    jackpot: JackpotView
    is_voided: bool = False


@dataclass(frozen=True, slots=True)
class WalletEntry:
    """One movement; exactly one of `spin_id`, `win` and `request_id` is behind it."""

    wallet_id: str
    entry_number: int
    kind: EntryKind
    amount_minor: int
    balance_minor: int
    entry_time: datetime
    spin_id: UUID | None = None
    win: str | None = None
    request_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class WalletRequest:
    """A CreateWallet, Deposit or Withdraw that took effect, to answer its repeats.

    Fields that the request did not have are its wallet's; `entry_number` is 0 for CreateWallet.
    """

    request_id: UUID
    method: WalletMethod
    wallet_id: str
    operator_id: str
    user_id: str
    currency_code: str
    amount_minor: int
    is_test: bool
    entry_number: int
    request_time: datetime


class Reason(Enum):
    """Why a command is refused; the names are those of spin.v1.ErrorReason."""

    SPIN_ID_REUSED = auto()
    REQUEST_ID_REUSED = auto()
    WALLET_EXISTS = auto()
    WALLET_NOT_FOUND = auto()
    GAME_NOT_FOUND = auto()
    SPIN_NOT_FOUND = auto()
    SPIN_VOIDED = auto()
    WALLET_MISMATCH = auto()
    CURRENCY_MISMATCH = auto()
    GAME_DISABLED = auto()
    WAGER_OUT_OF_RANGE = auto()
    # The provider is not one whose games may hit tiers.
    ROLE_REQUIRED = auto()
    INSUFFICIENT_FUNDS = auto()
    BALANCE_LIMIT_EXCEEDED = auto()


@dataclass(frozen=True, slots=True)
class Refused:
    """A command that changes nothing. `fields` are those that differ from the first request with its id."""

    reason: Reason
    message: str
    fields: tuple[str, ...] = ()

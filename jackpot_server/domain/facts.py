"""What the engine has decided, as it is stored and answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple, TypeAlias
from uuid import UUID

from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.evidence import Recording


class ContributionState(IntEnum):
    """Numbers of `jackpot.v1.Contribution.State`."""

    RECORDED = 1
    VOIDED = 2


class SkipReason(IntEnum):
    """Numbers of `jackpot.v1.PoolShare.SkipReason`."""

    NOT_SKIPPED = 0
    BELOW_MINIMUM = 1
    PAUSED = 2
    ABOVE_BOUND = 3
    STAKE_KIND = 4
    CURRENCY = 5


class WinState(IntEnum):
    """Numbers of `jackpot.v1.Win.State`. SHADOW, its unspecified one: nobody is ever paid."""

    SHADOW = 0
    PAYABLE = 1
    HELD = 2
    PAID = 3
    REJECTED = 4


class HoldReason(IntEnum):
    """Numbers of `jackpot.v1.Win.HoldReason`."""

    NONE = 0
    AMOUNT = 1
    VOID = 2
    OPERATOR = 3
    CREDIT_FAILED = 4


class EventKind(IntEnum):
    """Numbers of `jackpot.v1.WinEvent.Kind`."""

    DECIDED = 1
    HELD = 2
    RELEASED = 3
    REJECTED = 4
    PAID = 5
    REVIEW_REQUIRED = 6


class Account(IntEnum):
    """Numbers of the ledger's accounts (PR-02)."""

    FUNDING = 1
    CURRENT = 2
    RESERVE = 3
    OVERFLOW = 4
    HOUSE = 5
    WINS_PAYABLE = 6
    WINS_PAID = 7
    CORRECTION = 8


class EntryKind(IntEnum):
    """Why the ledger moved."""

    OPENING = 1
    CONTRIBUTION = 2
    WIN = 3
    RESET = 4
    PAYMENT = 5
    TRANSFER = 6
    CORRECTION = 7
    VOID = 8
    REJECTION = 9


class Batch(NamedTuple):
    """What commits together: its number, and its time, read when every lock was held."""

    batch_id: int
    now: datetime


class Share(NamedTuple):
    """What one pool got of a contribution, or why it got nothing.

    `cycle` and `balance_micros` are 0 where the stake kind or the currency kept the pool out: it was then not
    looked at. `balance_micros` is the pool with this share in it, before any win of this spin.
    """

    pool_key: int
    cycle: int
    config_version: int
    amount_micros: int
    reserve_micros: int
    overflow_micros: int
    balance_micros: int
    skip_reason: int
    shadow: int


ShareRow: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""The fields of a `Share` as a plain tuple, as they are made and stored; `Share(*row)` names them."""


class Contribution(NamedTuple):
    """A recorded contribution. The catalog knows a share's pool and tier, by pool key and config version.

    `recording` is shared by all contributions of a batch, and filled in when the batch is written.
    """

    command: Contribute
    record_time: datetime
    state: ContributionState
    shares: Sequence[ShareRow]
    recording: Recording


@dataclass(frozen=True, slots=True)
class Proof:
    """Why a pool fell: the draw and what it was below; or what was reached and the hidden amount (micros).

    A hidden amount was drawn from what its cycle opened with (`cycle_start_micros`) or its floor upwards.
    Moments are microseconds since 1970; a hidden one was drawn from when its cycle opened, or its period
    began, to `cycle_deadline`. All None: the game said so.
    """

    value: int | None = None
    threshold: int | None = None
    reached: int | None = None
    hidden: int | None = None
    cycle_start_micros: int | None = None
    cycle_start_time: datetime | None = None
    cycle_deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Win:
    """A win as it was decided, and its state after its last event, whose number is `event_sequence`.

    One of a shadow pool has no events, so its state is SHADOW for ever.
    """

    pool_key: int
    pool_id: str
    tier: str
    cycle: int
    config_version: int
    spin_id: UUID
    operator_id: str
    user_id: str
    wallet_id: str
    game_id: str
    currency_code: str
    amount_minor: int
    shadow: bool
    proof: Proof
    decide_time: datetime
    state: WinState
    hold_reason: HoldReason
    review_required: bool
    spin_voided: bool
    wallet_entry_id: str
    pay_time: datetime | None
    event_sequence: int


@dataclass(frozen=True, slots=True)
class WinEvent:
    """One change of a win: the win as it was after it. Its number is `win.event_sequence`."""

    kind: EventKind
    win: Win
    event_time: datetime


class Entry(NamedTuple):
    """One movement of the ledger: the sum over a batch is zero for each currency (PR-02)."""

    account: Account
    kind: EntryKind
    pool_key: int | None
    operator_id: str | None
    currency_code: str
    amount_micros: int


class Recorded(NamedTuple):
    """The answer to a `Contribute`: decided facts as the first time, wins as they are now."""

    contribution: Contribution
    wins: tuple[Win, ...]
    replayed: bool


class Voided(NamedTuple):
    """The answer to a `Void`: the contribution as it was recorded, and its wins as they are now.

    Of a contribution that has not arrived there is nothing but its spin and operator.
    """

    contribution: Contribution
    wins: tuple[Win, ...]
    replayed: bool


class Acknowledged(NamedTuple):
    """The answer to an `Acknowledge`."""

    win: Win
    replayed: bool

"""The values of the outbox: what waits to be sent, what came back, what a wallet did with a win."""

from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Protocol, TypeAlias
from uuid import UUID

import asyncpg

# Kind, spin, win (or ''), event sequence (or 0): the primary key of jackpot_outbox.
RowKey: TypeAlias = tuple[int, UUID, str, int]


class Kind(IntEnum):
    """What a row asks for. Numbers as in jackpot_outbox.kind."""

    CONTRIBUTION = 1
    VOID = 2
    ACKNOWLEDGEMENT = 3


class Outcome(IntEnum):
    """What the wallet did with a win. Numbers as in jackpot.v1.AcknowledgeWinRequest.Outcome."""

    CREDITED = 1
    FAILED = 2
    HOLD_CONFIRMED = 3


class WinState(IntEnum):
    """Numbers as in jackpot.v1.Win.State."""

    PAYABLE = 1
    HELD = 2
    PAID = 3
    REJECTED = 4


@dataclass(frozen=True, slots=True)
class ContributionRow:
    """One RecordContributionRequest, complete: a resend reads nothing else.

    `game_category` and `stake_kind` are the numbers of jackpot.v1's enums.
    """

    spin_id: UUID
    operator_id: str
    user_id: str
    wallet_id: str
    currency_code: str
    wager_minor: int
    game_category: int
    game_id: str
    provider_name: str = ""
    provider_round_id: str = ""
    stake_kind: int = 1
    country_code: str = ""
    client_seed: str = ""
    triggered_tiers: tuple[str, ...] = ()
    occur_time: datetime | None = None

    @property
    def key(self) -> RowKey:
        return (Kind.CONTRIBUTION, self.spin_id, "", 0)


@dataclass(frozen=True, slots=True)
class AcknowledgementRow:
    """One AcknowledgeWinRequest. `event_sequence` is that of the win as it was acted on."""

    spin_id: UUID
    win: str
    event_sequence: int
    operator_id: str
    # An Outcome; a foreign writer may have written any number, which the jackpot server then refuses.
    outcome: int
    wallet_entry_id: str = ""
    # What was credited; '' and 0 unless CREDITED.
    currency_code: str = ""
    credited_minor: int = 0
    credit_time: datetime | None = None
    failure_reason: str = ""

    @property
    def key(self) -> RowKey:
        return (Kind.ACKNOWLEDGEMENT, self.spin_id, self.win, self.event_sequence)


@dataclass(frozen=True, slots=True)
class VoidRow:
    """One VoidContributionRequest. `credited_wins`: names of wins that the wallet had credited by then."""

    spin_id: UUID
    operator_id: str
    credited_wins: tuple[str, ...] = ()
    reason: str = ""

    @property
    def key(self) -> RowKey:
        return (Kind.VOID, self.spin_id, "", 0)


Row: TypeAlias = ContributionRow | VoidRow | AcknowledgementRow


@dataclass(frozen=True, slots=True)
class WinNotice:
    """A win as the jackpot server told of it, in an answer or in an event. Never of a shadow pool."""

    # pools/{pool}/wins/{spin_id}
    win: str
    spin_id: UUID
    operator_id: str
    user_id: str
    wallet_id: str
    # pools/{pool}
    pool: str
    tier: str
    currency_code: str
    amount_minor: int
    state: WinState
    spin_voided: bool
    event_sequence: int

    @property
    def is_to_act_on(self) -> bool:
        """Whether the wallet has anything to do: to credit, or to confirm that it will not."""
        return self.state in (WinState.PAYABLE, WinState.HELD)


@dataclass(frozen=True, slots=True)
class Answer:
    """The jackpot server answered `row` for good: it ends with the transaction that books this."""

    row: Row
    # Of a contribution: jackpot.v1.Contribution.State, the shares as jackpot_results keeps them, and
    # where its record stands in the audit trail. 0, '[]' and None of other rows.
    state: int = 0
    shares_json: str = "[]"
    record_time: datetime | None = None
    audit_chain: int | None = None
    audit_sequence: int | None = None
    audit_sha256: bytes | None = None
    wins: tuple[WinNotice, ...] = ()


@dataclass(frozen=True, slots=True)
class Setback:
    """`row` was not answered for good, or was refused for good (`parked`)."""

    row: Row
    # ErrorInfo.reason, or the status' name.
    reason: str
    message: str
    parked: bool = False
    # Where it was the world's trouble, not the row's; None: back off by the row's own attempts.
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class WinPage:
    """Consecutive win events of one operator; its cursor moves to `last_sequence` with them."""

    operator_id: str
    wins: tuple[WinNotice, ...]
    last_sequence: int
    # The answer went on behind a missing sequence; the page ends before it.
    has_gap: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Booking:
    """What one transaction is to book, all or nothing; may be repeated. Equal only to itself."""

    answers: tuple[Answer, ...] = ()
    pages: tuple[WinPage, ...] = ()

    @property
    def wallet_ids(self) -> set[str]:
        """The wallets that it may credit, to be locked first; some may not exist here."""
        return {win.wallet_id for win in self.wins if win.is_to_act_on}

    @property
    def is_plain(self) -> bool:
        """Whether it only ends rows: no win, no cursor."""
        return not self.pages and not any(answer.wins for answer in self.answers)

    @property
    def wins(self) -> Iterator[WinNotice]:
        """All that it tells of wins, the same win more than once perhaps."""
        for answer in self.answers:
            yield from answer.wins
        for page in self.pages:
            yield from page.wins


@dataclass(frozen=True, slots=True)
class Credited:
    """The wallet has the money, by this entry of its own."""

    wallet_entry_id: str
    credit_time: datetime


@dataclass(frozen=True, slots=True)
class Impossible:
    """The wallet cannot take the win; it becomes HELD. `reason`: at most 256 characters."""

    reason: str


class Credit(Protocol):
    """The wallet's side of a win: `results[i]` says what became of `wins[i]`.

    Called inside the open transaction that books the wins, whose wallets are locked. It writes the
    entries of all wins in a few statements; the wins' own rows are the outbox's.
    """

    def __call__(
        self, connection: asyncpg.Connection, wins: Sequence[WinNotice], /
    ) -> Awaitable[Sequence[Credited | Impossible]]: ...


@dataclass(frozen=True, slots=True)
class Booked:
    """What a booking did. Whoever commits it dispatches `acknowledgements` afterwards (`Outbox.offer`)."""

    acknowledgements: tuple[AcknowledgementRow, ...] = ()
    # Spins whose contribution or void ended with this booking.
    ended_spins: tuple[UUID, ...] = ()
    # Wins of spins that are not in this database; they were skipped.
    foreign_wins: int = 0


@dataclass(frozen=True, slots=True)
class HourTotal:
    """What a jackpot server has of one operator in one hour (UTC) and currency, voided or not."""

    hour: datetime
    currency_code: str
    count: int
    wager_minor: int
    contributed_micros: int


@dataclass(frozen=True, slots=True)
class RecordedContribution:
    """A contribution as a jackpot server has it; without a wager, it was voided before it came."""

    spin_id: UUID
    currency_code: str
    wager_minor: int
    contributed_micros: int
    record_time: datetime

"""What a batch comes to: an answer for each command, the facts to store, what moved."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from jackpot_server.domain.commands import Acknowledge, Contribute, Void
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.evidence import Recording
from jackpot_server.domain.facts import (
    Acknowledged,
    Contribution,
    Entry,
    Recorded,
    Voided,
    Win,
    WinEvent,
)
from jackpot_server.domain.pool import PoolState

Command: TypeAlias = Contribute | Acknowledge | Void
WinKey: TypeAlias = tuple[str, UUID]
"""Pool id and spin id."""

COMMITTED_AHEAD: Final = 16
"""Cycles beyond the running one whose seeds are committed (PR-13)."""


class NotReached:
    """The answer to a command that waits for the next batch: its cycle's seed is not committed yet."""

    __slots__ = ()


NOT_REACHED: Final = NotReached()

Answer: TypeAlias = Recorded | Voided | Acknowledged | Refused | NotReached


class KnownWin(NamedTuple):
    """A win before the batch, and every acknowledgement of it that is stored."""

    win: Win
    acknowledgements: Collection[Acknowledge]


class StoredAcknowledgement(NamedTuple):
    """An acknowledgement to store; `took_effect` is false if it came late or contradicted what is known."""

    win: Win
    command: Acknowledge
    took_effect: bool


class Contradiction(NamedTuple):
    """What a wallet said of a win that the books know better; its entry is empty if a void said so."""

    pool_id: str
    spin_id: UUID
    wallet_entry_id: str
    reason: Reason


@dataclass(slots=True)
class Decision:
    """What a batch comes to. `answers[i]` answers `commands[i]`; the rest is what to store.

    `event_sequence` is negative in what this batch told: −n stands for the n-th event of its operator in this
    batch, until `number_events` has the operators' counters.
    """

    now: datetime
    recording: Recording = field(default_factory=Recording)
    answers: list[Answer] = field(default_factory=list)
    contributions: list[Contribution] = field(default_factory=list)
    voids: list[Void] = field(default_factory=list)
    # Of the voids, those whose contribution had not arrived: stored in its place.
    unmet: list[Contribution] = field(default_factory=list)
    pools: list[PoolState] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    wins: list[Win] = field(default_factory=list)
    events: list[WinEvent] = field(default_factory=list)
    acknowledgements: list[StoredAcknowledgement] = field(default_factory=list)
    # Pool keys and cycles whose seeds are to be committed.
    commitments: list[tuple[int, int]] = field(default_factory=list)
    # Of wallets that contradict the books: somebody has to look.
    contradictions: list[Contradiction] = field(default_factory=list)
    # Spins whose games triggered a tier that no pool of theirs fell for.
    unanswered_tiers: list[Contribute] = field(default_factory=list)
    # Indexes of answers that show an event of this batch.
    unnumbered: list[int] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.contributions or self.acknowledgements or self.voids)

    def event_counts(self) -> dict[str, int]:
        """Events per operator."""
        return dict(Counter(event.win.operator_id for event in self.events))

    def number_events(self, last_before: Mapping[str, int]) -> None:
        """Gives the events their numbers, which follow `last_before` of each operator without a gap."""

        def numbered(win: Win) -> Win:
            if win.event_sequence >= 0:
                return win
            return replace(win, event_sequence=last_before[win.operator_id] - win.event_sequence)

        self.events = [replace(event, win=numbered(event.win)) for event in self.events]
        for index in self.unnumbered:
            answer = self.answers[index]
            if isinstance(answer, Recorded | Voided):
                self.answers[index] = answer._replace(wins=tuple(numbered(win) for win in answer.wins))
            elif isinstance(answer, Acknowledged):
                self.answers[index] = answer._replace(win=numbered(answer.win))

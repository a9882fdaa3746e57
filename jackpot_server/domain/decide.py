"""One batch decided: locked pools, rules and commands in; answers, facts and movements out. Pure.

Within a pool the order is the order of the commands: a spin's share goes in first, then its draw is made;
a win pays what the pool shows with that share in it, and the next spin finds the pool reset (PR-10).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from jackpot_server.domain.acknowledge import judge
from jackpot_server.domain.commands import Acknowledge, Contribute, EligibilityKey, differing_fields
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.evidence import Recording
from jackpot_server.domain.facts import (
    Account,
    Acknowledged,
    Contribution,
    ContributionState,
    Entry,
    EntryKind,
    EventKind,
    HoldReason,
    Proof,
    Recorded,
    ShareRow,
    Win,
    WinEvent,
    WinState,
)
from jackpot_server.domain.ledger import Ledger
from jackpot_server.domain.play import PoolInPlay
from jackpot_server.domain.pool import PoolState
from jackpot_server.domain.terms import Rules
from service_kit.money import MICROS

Command: TypeAlias = Contribute | Acknowledge
WinKey: TypeAlias = tuple[str, UUID]
"""Pool id and spin id."""

COMMITTED_AHEAD: Final = 16
"""Cycles beyond the running one whose seeds are committed (PR-13)."""

_SKIP_REASON: Final = 7  # of a ShareRow
_SHADOW: Final = 8


class NotReached:
    """The answer to a command that waits for the next batch: its cycle's seed is not committed yet."""

    __slots__ = ()


NOT_REACHED: Final = NotReached()

Answer: TypeAlias = Recorded | Acknowledged | Refused | NotReached


class KnownWin(NamedTuple):
    """A win before the batch, and every acknowledgement of it that is stored."""

    win: Win
    acknowledgements: Collection[Acknowledge]


class StoredAcknowledgement(NamedTuple):
    """An acknowledgement to store; `took_effect` is false if it came late or contradicted what is known."""

    win: Win
    command: Acknowledge
    took_effect: bool


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
    pools: list[PoolState] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    wins: list[Win] = field(default_factory=list)
    events: list[WinEvent] = field(default_factory=list)
    acknowledgements: list[StoredAcknowledgement] = field(default_factory=list)
    # Pool keys and cycles whose seeds are to be committed.
    commitments: list[tuple[int, int]] = field(default_factory=list)
    # Of wallets that contradict the books: somebody has to look.
    contradictions: list[tuple[Acknowledge, Refused]] = field(default_factory=list)
    # Spins whose games triggered a tier that no pool of theirs fell for.
    unanswered_tiers: list[Contribute] = field(default_factory=list)
    # Indexes of answers that show an event of this batch.
    unnumbered: list[int] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.contributions or self.acknowledgements)

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
            if isinstance(answer, Recorded):
                self.answers[index] = answer._replace(wins=tuple(numbered(win) for win in answer.wins))
            elif isinstance(answer, Acknowledged):
                self.answers[index] = answer._replace(win=numbered(answer.win))


def decide(
    rules: Rules,
    pools: Iterable[PoolState],
    commands: Sequence[Command],
    *,
    known: Mapping[UUID, Recorded],
    wins: Mapping[WinKey, KnownWin],
    now: datetime,
) -> Decision:
    """Decides a batch in the order of its commands.

    `pools` are locked: all that the commands may touch. `known` has the contributions that were recorded
    before under ids of this batch, `wins` the wins that it acknowledges. `now` was read under the locks.
    """
    batch = _Batch(rules, pools, known, wins, now)
    for command in commands:
        batch.answers.append(
            batch.contribute(command) if isinstance(command, Contribute) else batch.acknowledge(command)
        )
    return batch.end()


class _Batch:
    """A batch while it is being decided."""

    def __init__(
        self,
        rules: Rules,
        pools: Iterable[PoolState],
        known: Mapping[UUID, Recorded],
        wins: Mapping[WinKey, KnownWin],
        now: datetime,
    ) -> None:
        self._decision = Decision(now)
        self.answers = self._decision.answers
        self._rules = rules
        self._now = now
        self._pools = {pool.pool_key: PoolInPlay(pool, rules, now) for pool in pools}
        self._recorded = dict(known)
        self._known_wins = wins
        # Wins that this batch decided or changed, and what is stored about them.
        self._wins: dict[WinKey, Win] = {}
        self._acknowledgements: defaultdict[WinKey, list[Acknowledge]] = defaultdict(list)
        self._event_counts: Counter[str] = Counter()
        self._taking_part: dict[EligibilityKey, tuple[list[PoolInPlay], tuple[ShareRow, ...]]] = {}
        self._funded: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._ledger = Ledger()
        self._has_exhausted = False
        self._is_over = False

    def contribute(self, command: Contribute) -> Answer:
        recorded = self._recorded.get(command.spin_id)
        if recorded is not None:
            return self._repeat(recorded, command)
        key = command.eligibility
        pools, skipped = self._taking_part.get(key) or self._find_pools(key)
        if self._has_exhausted and any(pool.is_exhausted for pool in pools):
            self._is_over = True
        if self._is_over:
            return NOT_REACHED
        shares: list[ShareRow] = []
        wins: tuple[Win, ...] = ()
        funding = 0
        for pool in pools:
            share = pool.take(command.wager_minor)
            shares.append(share)
            if share[_SKIP_REASON]:
                continue
            if not share[_SHADOW]:
                funding += share[3] + share[4] + share[5]
            proof = pool.falls(command)
            if proof is not None:
                wins += (self._win(pool, command, proof),)
        shares += skipped
        if funding:
            self._funded[command.operator_id, command.currency_code] += funding
        contribution = Contribution(
            command, self._now, ContributionState.RECORDED, shares, self._decision.recording
        )
        self._decision.contributions.append(contribution)
        answer = Recorded(contribution, wins, False)
        self._recorded[command.spin_id] = answer
        if wins:
            self._decision.unnumbered.append(len(self.answers))
        if command.triggered_tiers and not {win.tier for win in wins}.issuperset(command.triggered_tiers):
            self._decision.unanswered_tiers.append(command)
        return answer

    def acknowledge(self, command: Acknowledge) -> Answer:
        if self._is_over:
            return NOT_REACHED
        key = (command.pool_id, command.spin_id)
        known = self._known_wins.get(key)
        if known is None:
            return Refused(Reason.WIN_NOT_FOUND, "There is no such win.")
        before = self._wins.get(key, known.win)
        earlier = [*known.acknowledgements, *self._acknowledgements[key]]
        verdict = judge(before, earlier, command, self._now)
        win = verdict.win
        if verdict.event is not None:
            win = self._tell(verdict.event, win)
            if verdict.event is EventKind.PAID:
                self._book_payment(win)
        if verdict.is_new:
            self._acknowledgements[key].append(command)
            self._decision.acknowledgements.append(StoredAcknowledgement(win, command, verdict.took_effect))
        if verdict.refused is not None:
            self._decision.contradictions.append((command, verdict.refused))
            return verdict.refused
        if win.event_sequence < 0:
            self._decision.unnumbered.append(len(self.answers))
        return Acknowledged(win, replayed=not verdict.took_effect)

    def end(self) -> Decision:
        decision = self._decision
        for (operator_id, currency_code), micros in self._funded.items():
            self._ledger.operator(
                Account.FUNDING, EntryKind.CONTRIBUTION, operator_id, currency_code, -micros
            )
        for pool in self._pools.values():
            after = pool.end(self._ledger)
            if after is not None:
                decision.pools.append(after)
                committed = range(pool.start.cycle + COMMITTED_AHEAD + 1, after.cycle + COMMITTED_AHEAD + 1)
                decision.commitments += [(pool.pool_key, cycle) for cycle in committed]
        decision.entries = self._ledger.entries()
        return decision

    def _repeat(self, first: Recorded, command: Contribute) -> Answer:
        """The same again: decided facts as the first time, wins as they are now; anything else is refused."""
        if self._is_over:
            return NOT_REACHED
        other = differing_fields(first.contribution.command, command)
        if other:
            is_own = first.contribution.command.operator_id == command.operator_id
            return Refused(
                Reason.SPIN_ID_REUSED,
                "The spin id was used with other fields.",
                tuple(other) if is_own else (),
            )
        wins = tuple(self._wins.get((win.pool_id, win.spin_id), win) for win in first.wins)
        if any(win.event_sequence < 0 for win in wins):
            self._decision.unnumbered.append(len(self.answers))
        return Recorded(first.contribution, wins, True)

    def _find_pools(self, key: EligibilityKey) -> tuple[list[PoolInPlay], tuple[ShareRow, ...]]:
        candidates = self._rules.eligibility.candidates(key)
        found = ([self._pools[pool_key] for pool_key in candidates.pool_keys], candidates.skipped)
        self._taking_part[key] = found
        return found

    def _win(self, pool: PoolInPlay, command: Contribute, proof: Proof) -> Win:
        tier, cycle, config_version = pool.tier, pool.cycle, pool.config_version
        amount_minor = pool.pay()
        self._has_exhausted |= pool.is_exhausted
        if not pool.is_shadow:
            self._ledger.operator(
                Account.WINS_PAYABLE,
                EntryKind.WIN,
                command.operator_id,
                command.currency_code,
                amount_minor * MICROS,
            )
        win = Win(
            pool_key=pool.pool_key,
            pool_id=pool.start.pool_id,
            tier=tier,
            cycle=cycle,
            config_version=config_version,
            spin_id=command.spin_id,
            operator_id=command.operator_id,
            user_id=command.user_id,
            wallet_id=command.wallet_id,
            game_id=command.game_id,
            currency_code=command.currency_code,
            amount_minor=amount_minor,
            shadow=pool.is_shadow,
            proof=proof,
            decide_time=self._now,
            state=WinState.SHADOW if pool.is_shadow else WinState.PAYABLE,
            hold_reason=HoldReason.NONE,
            review_required=False,
            spin_voided=False,
            wallet_entry_id="",
            pay_time=None,
            event_sequence=0,
        )
        self._decision.wins.append(win)
        return win if pool.is_shadow else self._tell(EventKind.DECIDED, win)

    def _tell(self, kind: EventKind, win: Win) -> Win:
        """Adds an event; the win as it is after it."""
        self._event_counts[win.operator_id] += 1
        told = replace(win, event_sequence=-self._event_counts[win.operator_id])
        self._decision.events.append(WinEvent(kind, told, self._now))
        self._wins[win.pool_id, win.spin_id] = told
        return told

    def _book_payment(self, win: Win) -> None:
        micros = win.amount_minor * MICROS
        for account, amount in ((Account.WINS_PAYABLE, -micros), (Account.WINS_PAID, micros)):
            self._ledger.operator(account, EntryKind.PAYMENT, win.operator_id, win.currency_code, amount)

"""One batch decided: locked pools, rules and commands in; answers, facts and movements out. Pure.

Within a pool the order is the order of the commands: a spin's share goes in first, then its draw is made;
a win pays what the pool shows with that share in it, and the next spin finds the pool reset (PR-10).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from jackpot_server.domain.acknowledge import judge
from jackpot_server.domain.commands import (
    Acknowledge,
    Contribute,
    EligibilityKey,
    Void,
    differing_fields,
)
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
    NOT_REACHED,
    Answer,
    Command,
    Contradiction,
    Decision,
    KnownWin,
    StoredAcknowledgement,
    WinKey,
)
from jackpot_server.domain.errors import Reason, Refused
from jackpot_server.domain.facts import (
    Account,
    Acknowledged,
    Contribution,
    ContributionState,
    EntryKind,
    EventKind,
    HoldReason,
    Proof,
    Recorded,
    ShareRow,
    Voided,
    Win,
    WinEvent,
    WinState,
)
from jackpot_server.domain.ledger import Ledger
from jackpot_server.domain.play import PoolInPlay
from jackpot_server.domain.pool import PoolState
from jackpot_server.domain.terms import Rules
from jackpot_server.domain.void import void_win
from service_kit.money import MICROS, whole_minor

# Of a ShareRow.
_POOL_KEY: Final = 0
_AMOUNT, _RESERVE, _OVERFLOW = 3, 4, 5
_SKIP_REASON: Final = 7
_SHADOW: Final = 8

# Of a contribution that had not arrived when it was voided, nothing is known but its spin and operator.
_UNKNOWN: Final = Contribute(UUID(int=0), "", "", "", "", 0, "", "", 0, "", "", 0, "")


def decide(
    rules: Rules,
    pools: Iterable[PoolState],
    commands: Sequence[Command],
    *,
    known: Mapping[UUID, Recorded],
    wins: Mapping[WinKey, KnownWin],
    now: datetime,
    voids: Mapping[UUID, Void] | None = None,
) -> Decision:
    """Decides a batch in the order of its commands.

    `pools` are locked: all that the commands may touch. `known` has the contributions that were recorded
    before under ids of this batch, `wins` the wins that it acknowledges, `voids` what voided spins before
    that it voids again. `now` was read under the locks.
    """
    batch = _Batch(rules, pools, known, wins, voids or {}, now)
    for command in commands:
        if isinstance(command, Contribute):
            batch.answers.append(batch.contribute(command))
        elif isinstance(command, Void):
            batch.answers.append(batch.void(command))
        else:
            batch.answers.append(batch.acknowledge(command))
    return batch.end()


class _Batch:
    """A batch while it is being decided."""

    def __init__(
        self,
        rules: Rules,
        pools: Iterable[PoolState],
        known: Mapping[UUID, Recorded],
        wins: Mapping[WinKey, KnownWin],
        voids: Mapping[UUID, Void],
        now: datetime,
    ) -> None:
        self._decision = Decision(now)
        self.answers = self._decision.answers
        self._rules = rules
        self._now = now
        self._pools = {pool.pool_key: PoolInPlay(pool, rules, now) for pool in pools}
        self._recorded = dict(known)
        self._known_wins = wins
        self._voids = dict(voids)
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
                funding += share[_AMOUNT] + share[_RESERVE] + share[_OVERFLOW]
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
            if verdict.pays:
                self._book_payment(win)
        if verdict.is_new:
            self._acknowledgements[key].append(command)
            self._decision.acknowledgements.append(StoredAcknowledgement(win, command, verdict.took_effect))
        if verdict.refused is not None:
            self._decision.contradictions.append(
                Contradiction(
                    command.pool_id, command.spin_id, command.wallet_entry_id, verdict.refused.reason
                )
            )
            return verdict.refused
        if win.event_sequence < 0:
            self._decision.unnumbered.append(len(self.answers))
        return Acknowledged(win, replayed=not verdict.took_effect)

    def void(self, command: Void) -> Answer:
        """Takes a contribution back (V1 to V6). Never refused for a jackpot's sake."""
        if self._is_over:
            return NOT_REACHED
        recorded = self._recorded.get(command.spin_id)
        if recorded is not None and recorded.contribution.command.operator_id != command.operator_id:
            return Refused(Reason.SPIN_ID_REUSED, "The spin id was used with other fields.")
        first = self._voids.get(command.spin_id)
        if first is not None and first.credited_pools != command.credited_pools:
            message = "The spin was voided with other credited wins."
            return Refused(Reason.SPIN_ID_REUSED, message, ("credited_wins",))
        if recorded is None:
            contribution = self._unmet(command)
            wins: tuple[Win, ...] = ()
        elif first is not None:
            contribution = recorded.contribution
            wins = tuple(self._wins.get((win.pool_id, win.spin_id), win) for win in recorded.wins)
        else:
            contribution = recorded.contribution._replace(state=ContributionState.VOIDED)
            self._take_back(contribution)
            wins = tuple(self._void_win(win, command) for win in recorded.wins)
        if first is None:
            self._decision.voids.append(command)
            self._voids[command.spin_id] = command
            self._recorded[command.spin_id] = Recorded(contribution, wins, True)
            for pool_id in set(command.credited_pools) - {win.pool_id for win in wins}:
                self._contradict(pool_id, command.spin_id, Reason.WIN_NOT_FOUND)
        if any(win.event_sequence < 0 for win in wins):
            self._decision.unnumbered.append(len(self.answers))
        return Voided(contribution, wins, replayed=first is not None)

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
        is_own = first.contribution.command.operator_id == command.operator_id
        if is_own and not first.contribution.command.wager_minor:
            # Voided before it came (V1): answered as it is, and nothing of it is stored.
            return first._replace(contribution=first.contribution._replace(command=command))
        other = differing_fields(first.contribution.command, command)
        if other:
            return Refused(
                Reason.SPIN_ID_REUSED,
                "The spin id was used with other fields.",
                tuple(other) if is_own else (),
            )
        wins = tuple(self._wins.get((win.pool_id, win.spin_id), win) for win in first.wins)
        if any(win.event_sequence < 0 for win in wins):
            self._decision.unnumbered.append(len(self.answers))
        return Recorded(first.contribution, wins, True)

    def _unmet(self, command: Void) -> Contribution:
        """What stands for a contribution that has not arrived (V1)."""
        unknown = _UNKNOWN._replace(spin_id=command.spin_id, operator_id=command.operator_id)
        contribution = Contribution(
            unknown, self._now, ContributionState.VOIDED, (), self._decision.recording
        )
        self._decision.unmet.append(contribution)
        return contribution

    def _take_back(self, contribution: Contribution) -> None:
        """Each pool gives back all of its share, whatever became of it since (V2, V3)."""
        command = contribution.command
        for share in contribution.shares:
            micros = share[_AMOUNT] + share[_RESERVE] + share[_OVERFLOW]
            if micros and not share[_SHADOW]:
                self._pools[share[_POOL_KEY]].give_back(micros)
                operator, currency = command.operator_id, command.currency_code
                self._ledger.operator(Account.FUNDING, EntryKind.VOID, operator, currency, micros)

    def _void_win(self, known: Win, command: Void) -> Win:
        win = self._wins.get((known.pool_id, known.spin_id), known)
        voided = void_win(win, win.pool_id in command.credited_pools, self._now)
        if voided.contradicts:
            self._contradict(win.pool_id, win.spin_id, Reason.WIN_NOT_PAYABLE)
        if voided.event is None:
            return voided.win
        if voided.pays:
            self._book_payment(voided.win)
        return self._tell(voided.event, voided.win)

    def _contradict(self, pool_id: str, spin_id: UUID, reason: Reason) -> None:
        self._decision.contradictions.append(Contradiction(pool_id, spin_id, "", reason))

    def _find_pools(self, key: EligibilityKey) -> tuple[list[PoolInPlay], tuple[ShareRow, ...]]:
        candidates = self._rules.eligibility.candidates(key)
        found = ([self._pools[pool_key] for pool_key in candidates.pool_keys], candidates.skipped)
        self._taking_part[key] = found
        return found

    def _win(self, pool: PoolInPlay, command: Contribute, proof: Proof) -> Win:
        tier, cycle, config_version = pool.tier, pool.cycle, pool.config_version
        is_held = pool.holds(whole_minor(pool.current_micros))
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
            state=WinState.SHADOW if pool.is_shadow else WinState.HELD if is_held else WinState.PAYABLE,
            hold_reason=HoldReason.AMOUNT if is_held and not pool.is_shadow else HoldReason.NONE,
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

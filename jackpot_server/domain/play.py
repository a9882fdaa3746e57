"""A pool during one batch: takes shares, falls, resets; changed in memory, stored with the whole batch."""

from dataclasses import replace
from datetime import datetime

from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.facts import Account, EntryKind, Proof, ShareRow, SkipReason
from jackpot_server.domain.ledger import Ledger
from jackpot_server.domain.pool import Lifecycle, PoolState
from jackpot_server.domain.terms import CycleName, CycleTerms, Rules, ceiling_micros
from jackpot_server.domain.trigger import Opening, deadline_of_cycle
from service_kit.money import MAX_ACCOUNT_MICROS, MICROS, whole_minor


class PoolInPlay:
    """One locked pool. Shares come in arrival order; each win is decided right after the share before it."""

    __slots__ = (
        "_config_version",
        "_house_paid",
        "_last_win_minor",
        "_now",
        "_opening",
        "_overflow_paid",
        "_reserve_paid",
        "_rules",
        "_taken",
        "_terms",
        "_voided",
        "_won_micros",
        "current_micros",
        "is_exhausted",
        "overflow_micros",
        "pool_key",
        "reserve_micros",
        "start",
    )

    def __init__(self, start: PoolState, rules: Rules, now: datetime) -> None:
        """`now` was read under the pool's lock."""
        self.start = start
        self.pool_key = start.pool_key
        self.current_micros = start.current_micros
        self.reserve_micros = start.reserve_micros
        self.overflow_micros = start.overflow_micros
        # The running cycle has no commitment: nothing more can be decided in this batch.
        self.is_exhausted = False
        self._rules = rules
        self._now = now
        self._config_version = start.cycle_config_version
        self._opening = Opening(
            start.cycle, start.cycle_start_micros, start.cycle_start_time, start.cycle_deadline
        )
        self._terms = self._terms_of_cycle()
        # What wins and resets moved in this batch; contributions are the rest.
        self._won_micros = self._reserve_paid = self._overflow_paid = self._house_paid = 0
        self._last_win_minor: int | None = None
        # Shares of this batch.
        self._taken = 0
        # What voids took from overflow, reserve and house.
        self._voided = (0, 0, 0)

    def take(self, wager_minor: int) -> ShareRow:
        """Adds the share of a wager (PR-01), or says in the share why it is skipped."""
        terms = self._terms
        if not terms.min_wager <= wager_minor <= terms.max_wager:
            return self._skipped(self._why_skipped(wager_minor))
        amount = wager_minor * terms.contribution_ppm
        reserve = wager_minor * terms.reserve_ppm
        current = self.current_micros + amount
        if current > terms.ceiling_micros or self.reserve_micros + reserve > MAX_ACCOUNT_MICROS:
            return self._take_at_a_limit(amount, reserve)
        self.current_micros = current
        self.reserve_micros += reserve
        self._taken += 1
        return (
            self.pool_key,
            self._opening.cycle,
            self._config_version,
            amount,
            reserve,
            0,
            current,
            0,
            terms.shadow,
        )

    def falls(self, command: Contribute) -> Proof | None:
        """Whether the pool falls to the spin whose share it has just taken, and why."""
        return self._terms.trigger.falls(command, self.current_micros, self._now)

    @property
    def is_shadow(self) -> bool:
        """Only tried: nothing that it takes or pays is money (PR-09)."""
        return self.start.state is Lifecycle.SHADOW

    @property
    def cycle(self) -> int:
        return self._opening.cycle

    @property
    def tier(self) -> str:
        return self._terms.config.tier

    def holds(self, amount_minor: int) -> bool:
        """Whether a win of that amount waits for two people."""
        above = self._terms.config.hold_wins_above_minor
        return 0 < above < amount_minor

    @property
    def config_version(self) -> int:
        """Of the configuration whose rates, odds and reset the running cycle keeps."""
        return self._config_version

    def pay(self) -> int:
        """Pays the whole minor units to a win (PR-03), resets, opens the next cycle; what was paid."""
        amount_minor = whole_minor(self.current_micros)
        self.current_micros -= amount_minor * MICROS
        self._won_micros += amount_minor * MICROS
        self._last_win_minor = amount_minor
        self._reset()
        if self._rules.is_committed(self.pool_key, self.cycle):
            self._terms = self._terms_of_cycle()
        else:
            self.is_exhausted = True
        return amount_minor

    def give_back(self, micros: int) -> None:
        """Pays a voided share from overflow, reserve, then house: what is shown does not fall (V2)."""
        from_overflow = min(self.overflow_micros, micros)
        from_reserve = min(self.reserve_micros, micros - from_overflow)
        from_house = micros - from_overflow - from_reserve
        self.overflow_micros -= from_overflow
        self.reserve_micros -= from_reserve
        overflow, reserve, house = self._voided
        self._voided = (overflow + from_overflow, reserve + from_reserve, house + from_house)

    def end(self, ledger: Ledger) -> PoolState | None:
        """The pool after the batch, its movements added to the ledger; None if nothing changed in it."""
        start = self.start
        if not self.is_shadow:
            self._book(ledger)
        if not self._taken and (
            self.current_micros,
            self.reserve_micros,
            self.overflow_micros,
            self.cycle,
        ) == (
            start.current_micros,
            start.reserve_micros,
            start.overflow_micros,
            start.cycle,
        ):
            return None
        has_won = self._last_win_minor is not None
        return replace(
            start,
            cycle_config_version=self._config_version,
            cycle=self.cycle,
            cycle_start_micros=self._opening.start_micros,
            cycle_start_time=self._opening.start_time,
            cycle_deadline=self._opening.deadline,
            current_micros=self.current_micros,
            reserve_micros=self.reserve_micros,
            overflow_micros=self.overflow_micros,
            version=start.version + 1,
            update_time=self._now,
            last_win_minor=self._last_win_minor if has_won else start.last_win_minor,
            last_win_time=self._now if has_won else start.last_win_time,
            contribution_count=start.contribution_count + self._taken,
        )

    def _terms_of_cycle(self) -> CycleTerms:
        name = CycleName(
            self._opening,
            self.start.config_version,
            self._config_version,
            self.start.state,
        )
        return self._rules.terms(self.pool_key, name)

    def _why_skipped(self, wager_minor: int) -> SkipReason:
        if self.start.state is not Lifecycle.ACTIVE:
            return SkipReason.PAUSED
        return SkipReason.BELOW_MINIMUM if wager_minor < self._terms.min_wager else SkipReason.ABOVE_BOUND

    def _skipped(self, reason: SkipReason) -> ShareRow:
        return (
            self.pool_key,
            self.cycle,
            self._config_version,
            0,
            0,
            0,
            self.current_micros,
            reason,
            self._terms.shadow,
        )

    def _take_at_a_limit(self, amount: int, reserve: int) -> ShareRow:
        """At the ceiling the rest goes to the overflow, beyond its limit to the reserve (PR-07)."""
        terms = self._terms
        to_pool = min(amount, max(terms.ceiling_micros - self.current_micros, 0))
        to_overflow = min(amount - to_pool, max(terms.overflow_limit_micros - self.overflow_micros, 0))
        to_reserve = reserve + amount - to_pool - to_overflow
        if self.reserve_micros + to_reserve > MAX_ACCOUNT_MICROS:  # no account can hold it
            return self._skipped(SkipReason.ABOVE_BOUND)
        self.current_micros += to_pool
        self.overflow_micros += to_overflow
        self.reserve_micros += to_reserve
        self._taken += 1
        return (
            self.pool_key,
            self.cycle,
            self._config_version,
            to_pool,
            to_reserve,
            to_overflow,
            self.current_micros,
            0,
            terms.shadow,
        )

    def _reset(self) -> None:
        """Fills up to the next reset plus the overflow, from overflow, reserve, then house (PR-06), and opens
        the next cycle with the newest configuration.
        """
        before = self._terms.config.trigger
        self._config_version = self.start.config_version
        config = self._rules.catalog.configs[self.pool_key, self._config_version].config
        room = ceiling_micros(config) - self.current_micros
        target = min(config.reset_minor * MICROS + self.overflow_micros, room)
        from_overflow = min(self.overflow_micros, target)
        from_reserve = min(self.reserve_micros, target - from_overflow)
        self.current_micros += target
        self.overflow_micros -= from_overflow
        self.reserve_micros -= from_reserve
        self._overflow_paid += from_overflow
        self._reserve_paid += from_reserve
        self._house_paid += target - from_overflow - from_reserve
        last_deadline = self._opening.deadline if config.trigger == before else None
        deadline = deadline_of_cycle(config.trigger, self._now, last_deadline)
        self._opening = Opening(self.cycle + 1, self.current_micros, self._now, deadline)

    def _book(self, ledger: Ledger) -> None:
        start, key, currency = self.start, self.pool_key, self.start.currency_code
        paid_in = self._overflow_paid + self._reserve_paid + self._house_paid
        won = self._won_micros
        overflow_voided, reserve_voided, house_voided = self._voided
        reserve_paid, overflow_paid = (
            self._reserve_paid + reserve_voided,
            self._overflow_paid + overflow_voided,
        )
        gained = (
            (Account.CURRENT, self.current_micros - start.current_micros + won - paid_in),
            (Account.RESERVE, self.reserve_micros - start.reserve_micros + reserve_paid),
            (Account.OVERFLOW, self.overflow_micros - start.overflow_micros + overflow_paid),
        )
        for account, micros in gained:
            ledger.pool(account, EntryKind.CONTRIBUTION, key, currency, micros)
        ledger.pool(Account.CURRENT, EntryKind.WIN, key, currency, -won)
        ledger.pool(Account.CURRENT, EntryKind.RESET, key, currency, paid_in)
        ledger.pool(Account.RESERVE, EntryKind.RESET, key, currency, -self._reserve_paid)
        ledger.pool(Account.OVERFLOW, EntryKind.RESET, key, currency, -self._overflow_paid)
        ledger.house(EntryKind.RESET, currency, -self._house_paid)
        ledger.pool(Account.RESERVE, EntryKind.VOID, key, currency, -reserve_voided)
        ledger.pool(Account.OVERFLOW, EntryKind.VOID, key, currency, -overflow_voided)
        ledger.house(EntryKind.VOID, currency, -house_voided)

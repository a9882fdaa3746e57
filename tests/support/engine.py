"""The pure engine with a memory instead of a database: what was decided is there for the next batch."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from jackpot_server.domain import administer, hold
from jackpot_server.domain.admin_commands import ClosePool, CorrectPool, WinChange
from jackpot_server.domain.catalog import Catalog, PoolLabel, StoredConfig
from jackpot_server.domain.change import Change, Subject
from jackpot_server.domain.commands import Acknowledge, Contribute, Outcome, Void
from jackpot_server.domain.decide import decide
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
    Answer,
    Command,
    Decision,
    KnownWin,
    NotReached,
    WinKey,
)
from jackpot_server.domain.draw import cycle_seed
from jackpot_server.domain.errors import Refused
from jackpot_server.domain.facts import Account, ContributionState, Entry, Recorded, Win, WinEvent
from jackpot_server.domain.plan import Configured
from jackpot_server.domain.pool import (
    Lifecycle,
    Odds,
    PoolConfig,
    PoolState,
    Trigger,
    canonical_text,
    config_digest,
)
from jackpot_server.domain.terms import Rules
from jackpot_server.domain.trigger import deadline_of_cycle
from service_kit.money import MICROS

ROOT_KEY = b"an engine's root key, 32 bytes ok"
START = datetime(2026, 1, 1, tzinfo=UTC)
ALWAYS = Odds(one_in=1, per_wager_minor=1)
NEVER = Odds(one_in=10**12, per_wager_minor=10**12)


def pool_config(
    trigger: Trigger = NEVER,
    *,
    contribution_ppm: int = 10_000,
    reset_minor: int = 1000,
    **others: Any,
) -> PoolConfig:
    """A pool that everybody takes part in; `others` are further fields."""
    config = PoolConfig(
        display_name="Pool",
        tier="MAJOR",
        currency_code="EUR",
        trigger=trigger,
        contribution_ppm=contribution_ppm,
        reset_minor=reset_minor,
    )
    return replace(config, **others)


def spin(number: int, wager_minor: int = 100, **others: Any) -> Contribute:
    """The contribution of spin `number`; equal arguments, equal commands."""
    command = Contribute(
        spin_id=UUID(int=number),
        user_id="user",
        wallet_id="wallet",
        provider_round_id="round",
        client_seed="",
        wager_minor=wager_minor,
        operator_id="operator",
        currency_code="EUR",
        game_category=1,
        game_id="game",
        provider_name="provider",
        stake_kind=1,
        country_code="DE",
    )
    return command._replace(**others)


def credited(win: Win, entry: str = "entry-1", **others: Any) -> Acknowledge:
    """The wallet's word that it credited a win."""
    command = Acknowledge(
        pool_id=win.pool_id,
        spin_id=win.spin_id,
        outcome=Outcome.CREDITED,
        wallet_entry_id=entry,
        credited_minor=win.amount_minor,
        currency_code=win.currency_code,
        event_sequence=win.event_sequence,
    )
    return command._replace(**others)


def not_credited(win: Win, outcome: Outcome, **others: Any) -> Acknowledge:
    """FAILED or HOLD_CONFIRMED of a win as it is in `win`."""
    command = Acknowledge(win.pool_id, win.spin_id, outcome, "", None, "", event_sequence=win.event_sequence)
    return command._replace(**others)


def voided(number: int, *credited_pools: str, **others: Any) -> Void:
    """The void of spin `number`; `credited_pools` are those whose wins the wallet had credited."""
    return Void(UUID(int=number), "operator", credited_pools, "")._replace(**others)


class Engine:
    """Pools in memory. `submit` decides one batch; whatever a batch does not reach is decided in the next."""

    def __init__(self, configs: Mapping[str, PoolConfig]) -> None:
        self.now = START
        self.ids = dict(enumerate(configs, 1))
        self.keys = {pool_id: number for number, pool_id in self.ids.items()}
        self.configs = {(self.keys[pool_id], 1): _stored(config) for pool_id, config in configs.items()}
        self.states = {
            self.keys[pool_id]: _opened(self.keys[pool_id], pool_id, config, self.now)
            for pool_id, config in configs.items()
        }
        self.seeds = {
            (key, cycle): self.seed(key, cycle) for key in self.ids for cycle in range(1, COMMITTED_AHEAD + 2)
        }
        self.recorded: dict[UUID, Recorded] = {}
        self.wins: dict[tuple[str, UUID], Win] = {}
        self.voids: dict[UUID, Void] = {}
        self.said: defaultdict[tuple[str, UUID], list[Acknowledge]] = defaultdict(list)
        self.events: defaultdict[str, list[WinEvent]] = defaultdict(list)
        self.entries: list[Entry] = []
        self.decisions: list[Decision] = []
        self._reload()

    def seed(self, pool_key: int, cycle: int) -> bytes:
        return cycle_seed(ROOT_KEY, self.ids[pool_key], cycle)

    def pool(self, pool_id: str) -> PoolState:
        return self.states[self.keys[pool_id]]

    def configure(self, pool_id: str, config: PoolConfig) -> None:
        """Gives a pool a new configuration version."""
        key = self.keys[pool_id]
        version = self.states[key].config_version + 1
        self.configs[key, version] = _stored(config)
        self.states[key] = replace(self.states[key], config_version=version)
        self._reload()

    def set_state(self, pool_id: str, state: Lifecycle) -> None:
        key = self.keys[pool_id]
        self.states[key] = replace(self.states[key], state=state)

    def change(self, what: ClosePool | CorrectPool | WinChange) -> Change | Refused:
        """What two people together do; remembered as a batch is."""
        state = self.pool(what.pool_id)
        subject = self._subject(state)
        if isinstance(what, ClosePool):
            change = administer.close(what, subject, self._subject(self.pool(what.transfer_to)), self.now)
        elif isinstance(what, CorrectPool):
            change = administer.correct(what, subject, self.now)
        else:
            key = (what.pool_id, what.spin_id)
            change = hold.change_win(what, subject, self.wins[key], self.said[key], self.now)
        if not isinstance(change, Refused):
            self._carry_out(change)
        return change

    def let_fall(self, pool_id: str, command: Contribute) -> None:
        """Makes the running cycle fall to `command`, which adds nothing: its odds become a certainty."""
        key, state = self.keys[pool_id], self.pool(pool_id)
        config = self.configs[key, state.cycle_config_version].config
        if state.cycle_config_version == state.config_version:
            self.configure(pool_id, config)
        certain = replace(config, trigger=ALWAYS, contribution_ppm=0, reserve_ppm=0)
        self.configs[key, state.cycle_config_version] = _stored(certain)
        self._reload()
        self.submit(command)

    def submit(self, *commands: Command) -> list[Answer]:
        """Decides one batch, and further ones while something was not reached."""
        answers = self.decide(commands)
        reached = [answer for answer in answers if not isinstance(answer, NotReached)]
        if len(reached) == len(commands):
            return answers
        assert reached, "a batch decided nothing"
        return reached + self.submit(*commands[len(reached) :])

    def decide(self, commands: Sequence[Command]) -> list[Answer]:
        """Decides one batch and remembers it."""
        decision = decide(
            self.rules,
            self.states.values(),
            commands,
            known=self._known(commands),
            wins=self._acknowledged(commands),
            voids=self.voids,
            now=self.now,
        )
        decision.number_events({operator: len(self.events[operator]) for operator in decision.event_counts()})
        self._remember(decision)
        return decision.answers

    def funding(self) -> int:
        """Everything that operators have paid in, in micros."""
        return -sum(entry.amount_micros for entry in self.entries if entry.account is Account.FUNDING)

    def balance(self, account: Account, pool_id: str | None = None) -> int:
        """The sum of an account's entries."""
        key = None if pool_id is None else self.keys[pool_id]
        return sum(
            entry.amount_micros for entry in self.entries if (entry.account, entry.pool_key) == (account, key)
        )

    def _subject(self, state: PoolState) -> Subject:
        newest, of_cycle = (
            self.configs[state.pool_key, version].config
            for version in (state.config_version, state.cycle_config_version)
        )
        return Subject(state, Configured(newest, of_cycle, state.state))

    def _carry_out(self, change: Change) -> None:
        for pool in change.pools:
            self.states[pool.pool_key] = pool
        for ended in change.ended:
            cycle = ended.cycle + COMMITTED_AHEAD + 1
            self.seeds[ended.pool_key, cycle] = self.seed(ended.pool_key, cycle)
        if change.told is not None:
            kind, win = change.told
            events = self.events[win.operator_id]
            told = replace(win, event_sequence=len(events) + 1)
            events.append(WinEvent(kind, told, self.now))
            self.wins[told.pool_id, told.spin_id] = told
        self.entries += change.ledger.entries()
        self.now += timedelta(seconds=1)
        self._reload()

    def _known(self, commands: Iterable[Command]) -> dict[UUID, Recorded]:
        known = {}
        for command in commands:
            first = self.recorded.get(command.spin_id)
            if first is not None and not isinstance(command, Acknowledge):
                wins = tuple(self.wins[win.pool_id, win.spin_id] for win in first.wins)
                known[command.spin_id] = first._replace(wins=wins)
        return known

    def _acknowledged(self, commands: Iterable[Command]) -> dict[WinKey, KnownWin]:
        keys = {
            (command.pool_id, command.spin_id) for command in commands if isinstance(command, Acknowledge)
        }
        return {key: KnownWin(self.wins[key], tuple(self.said[key])) for key in keys & self.wins.keys()}

    def _remember(self, decision: Decision) -> None:
        self.decisions.append(decision)
        for pool in decision.pools:
            self.states[pool.pool_key] = pool
        for answer in decision.answers:
            if isinstance(answer, Recorded) and not answer.replayed:
                self.recorded[answer.contribution.command.spin_id] = answer
        for contribution in decision.unmet:
            self.recorded[contribution.command.spin_id] = Recorded(contribution, (), True)
        for void in decision.voids:
            self.voids[void.spin_id] = void
            first = self.recorded[void.spin_id]
            voided = first.contribution._replace(state=ContributionState.VOIDED)
            self.recorded[void.spin_id] = first._replace(contribution=voided)
        self.wins |= {(win.pool_id, win.spin_id): win for win in decision.wins}
        for event in decision.events:
            self.events[event.win.operator_id].append(event)
            self.wins[event.win.pool_id, event.win.spin_id] = event.win
        for said in decision.acknowledgements:
            self.said[said.win.pool_id, said.win.spin_id].append(said.command)
        for key, cycle in decision.commitments:
            self.seeds[key, cycle] = self.seed(key, cycle)
        self.entries += decision.entries
        self.now += timedelta(seconds=1)

    def _reload(self) -> None:
        catalog = Catalog(
            version=len(self.configs),
            pool_ids=self.ids,
            pool_keys=self.keys,
            newest={key: state.config_version for key, state in self.states.items()},
            configs=dict(self.configs),
            labels={
                (key, version): PoolLabel(self.ids[key], stored.config.tier)
                for (key, version), stored in self.configs.items()
            },
            closed=frozenset(key for key, state in self.states.items() if state.state is Lifecycle.CLOSED),
        )
        self.rules = Rules(catalog, self.seeds)


def cycles_won(engine: Engine) -> Counter[tuple[str, int]]:
    """How often each cycle of each pool was won."""
    return Counter((win.pool_id, win.cycle) for win in engine.wins.values())


def _stored(config: PoolConfig) -> StoredConfig:
    return StoredConfig(config, config_digest(canonical_text(config)))


def _opened(key: int, pool_id: str, config: PoolConfig, now: datetime) -> PoolState:
    return PoolState(
        pool_key=key,
        pool_id=pool_id,
        currency_code=config.currency_code,
        state=Lifecycle.ACTIVE,
        config_version=1,
        cycle_config_version=1,
        cycle=1,
        cycle_start_micros=config.reset_minor * MICROS,
        cycle_start_time=now,
        current_micros=config.reset_minor * MICROS,
        reserve_micros=0,
        overflow_micros=0,
        version=1,
        update_time=now,
        last_win_minor=None,
        last_win_time=None,
        cycle_deadline=deadline_of_cycle(config.trigger, now, None),
    )

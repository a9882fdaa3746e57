"""One pool played in memory by the code that pays: how often it falls, for how much, what the house adds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from jackpot_server.domain.catalog import Catalog, PoolLabel, StoredConfig
from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.decide import decide
from jackpot_server.domain.decision import (
    COMMITTED_AHEAD,
    Decision,
    NotReached,
)
from jackpot_server.domain.draw import cycle_seed
from jackpot_server.domain.facts import Account, Recorded, SkipReason
from jackpot_server.domain.pool import (
    Lifecycle,
    MustDropBy,
    PoolConfig,
    PoolState,
    canonical_text,
    config_digest,
)
from jackpot_server.domain.terms import Rules
from jackpot_server.domain.trigger import deadline_of_cycle
from service_kit.money import MICROS

_BATCH: Final = 500
_POOL_KEY: Final = 1
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SKIP_REASON: Final = 7  # of a ShareRow
_PPM: Final = 1_000_000


@dataclass(slots=True)
class PoolFigures:
    """What came of a simulation. Amounts in minor units, or in micros where the name says so."""

    pool_id: str
    config: PoolConfig
    wagers: int = 0
    skipped: int = 0
    wagered_minor: int = 0
    amounts_minor: list[int] = field(default_factory=list)
    contributed_micros: int = 0
    house_micros: int = 0
    current_micros: int = 0
    reserve_micros: int = 0
    overflow_micros: int = 0

    @property
    def won_minor(self) -> int:
        return sum(self.amounts_minor)

    @property
    def average_minor(self) -> int | None:
        """Of a win; None if nobody won."""
        return self.won_minor // len(self.amounts_minor) if self.amounts_minor else None

    @property
    def wagered_per_win_minor(self) -> int | None:
        return self.wagered_minor // len(self.amounts_minor) if self.amounts_minor else None

    @property
    def returned_ppm(self) -> int:
        """Millionths of what was wagered that were won."""
        return self.won_minor * _PPM // self.wagered_minor if self.wagered_minor else 0

    @property
    def house_ppm(self) -> int:
        """Millionths of what was wagered that the house added to resets, the first opening left aside."""
        return self.house_micros // self.wagered_minor if self.wagered_minor else 0


def simulate_pool(
    root_key: bytes,
    pool_id: str,
    config: PoolConfig,
    *,
    wagers: int,
    wager_minor: int,
    spins_per_s: int,
    progress: Callable[[int], None],
) -> PoolFigures:
    """Plays `wagers` equal wagers, `spins_per_s` of them in each second of the simulated clock."""
    table = _Table(root_key, pool_id, config)
    figures = PoolFigures(pool_id, config)
    # A batch has one time: where the clock decides, none is longer than a second.
    size = min(_BATCH, spins_per_s) if isinstance(config.trigger, MustDropBy) else _BATCH
    played = 0
    while played < wagers:
        batch = [table.spin(number, wager_minor) for number in range(played, min(played + size, wagers))]
        now = _START + timedelta(microseconds=played * 1_000_000 // spins_per_s)
        played_now = table.play(batch, now, figures)
        played += played_now
        progress(played_now)
    figures.current_micros = table.pool.current_micros
    figures.reserve_micros = table.pool.reserve_micros
    figures.overflow_micros = table.pool.overflow_micros
    return figures


class _Table:
    """The pool between batches, as the database would keep it."""

    def __init__(self, root_key: bytes, pool_id: str, config: PoolConfig) -> None:
        self._root_key = root_key
        self._config = config
        self._seeds: dict[tuple[int, int], bytes] = {}
        reset = config.reset_minor * MICROS
        self.pool = PoolState(
            pool_key=_POOL_KEY,
            pool_id=pool_id,
            currency_code=config.currency_code,
            state=Lifecycle.ACTIVE,
            config_version=1,
            cycle_config_version=1,
            cycle=1,
            cycle_start_micros=reset,
            cycle_start_time=_START,
            current_micros=reset,
            reserve_micros=0,
            overflow_micros=0,
            version=1,
            update_time=_START,
            last_win_minor=None,
            last_win_time=None,
            cycle_deadline=deadline_of_cycle(config.trigger, _START, None),
        )
        stored = StoredConfig(config, config_digest(canonical_text(config)))
        self._commit(range(1, COMMITTED_AHEAD + 2))
        catalog = Catalog(
            version=1,
            pool_ids={_POOL_KEY: pool_id},
            newest={_POOL_KEY: 1},
            configs={(_POOL_KEY, 1): stored},
            labels={(_POOL_KEY, 1): PoolLabel(pool_id, config.tier)},
            pool_keys={pool_id: _POOL_KEY},
        )
        self._rules = Rules(catalog, self._seeds)

    def spin(self, number: int, wager_minor: int) -> Contribute:
        """A contribution that the pool's own lists let in."""
        config = self._config
        return Contribute(
            spin_id=UUID(int=number),
            user_id="player",
            wallet_id="wallet",
            provider_round_id="",
            client_seed="",
            wager_minor=wager_minor,
            operator_id=_first(config.operator_ids),
            currency_code=config.currency_code,
            game_category=config.game_categories[0],
            game_id=_first(config.game_ids),
            provider_name=_first(config.provider_names),
            stake_kind=config.stake_kinds[0],
            country_code=_first(config.country_codes),
        )

    def play(self, spins: Sequence[Contribute], now: datetime, figures: PoolFigures) -> int:
        """Decides a batch, adds to the figures; how many spins were reached."""
        decision = decide(self._rules, [self.pool], spins, known={}, wins={}, now=now)
        reached = sum(not isinstance(answer, NotReached) for answer in decision.answers)
        for pool in decision.pools:
            self.pool = pool
        for pool_key, cycle in decision.commitments:
            self._seeds.pop((pool_key, cycle - 2 * COMMITTED_AHEAD), None)
            self._commit([cycle])
        _count(decision, figures)
        return reached

    def _commit(self, cycles: Sequence[int]) -> None:
        for cycle in cycles:
            self._seeds[_POOL_KEY, cycle] = cycle_seed(self._root_key, self.pool.pool_id, cycle)


def _count(decision: Decision, figures: PoolFigures) -> None:
    for answer in decision.answers:
        if isinstance(answer, Recorded):
            figures.wagers += 1
            figures.wagered_minor += answer.contribution.command.wager_minor
            figures.skipped += answer.contribution.shares[0][_SKIP_REASON] != SkipReason.NOT_SKIPPED
    figures.amounts_minor += [win.amount_minor for win in decision.wins]
    for entry in decision.entries:
        if entry.account is Account.FUNDING:
            figures.contributed_micros -= entry.amount_micros
        elif entry.account is Account.HOUSE:
            figures.house_micros -= entry.amount_micros


def _first(names: Sequence[str]) -> str:
    return names[0] if names else "any"

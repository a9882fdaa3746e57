"""What a pool goes by during one cycle, computed once and used for every spin of it."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from jackpot_server.domain.catalog import Catalog
from jackpot_server.domain.draw import commitment
from jackpot_server.domain.eligibility import Eligibility
from jackpot_server.domain.pool import Lifecycle, MustHitBy, PoolConfig, PoolState, running_config
from jackpot_server.domain.trigger import CycleTrigger, Opening, cycle_trigger
from service_kit.money import MAX_ACCOUNT_MICROS, MAX_AMOUNT_MINOR, MICROS

_NOBODY: Final = (1, 0)


class CycleName(NamedTuple):
    """What a cycle's terms follow from; equal names, equal terms."""

    opening: Opening
    config_version: int
    cycle_config_version: int
    state: Lifecycle


class CycleTerms:
    """Rates, bounds, limits in micros and the trigger of one cycle of one pool. Never changed.

    A wager takes part if it lies within [`min_wager`, `max_wager`]; nobody's does while the pool is paused.
    `shadow` is 1 of a pool that is only tried, as a share has it.
    """

    __slots__ = (
        "ceiling_micros",
        "config",
        "contribution_ppm",
        "max_wager",
        "min_wager",
        "name",
        "overflow_limit_micros",
        "reserve_ppm",
        "reset_micros",
        "seed_commitment",
        "shadow",
        "trigger",
    )

    def __init__(
        self, name: CycleName, pool_id: str, config: PoolConfig, digest_of_cycle: bytes, seed: bytes
    ) -> None:
        self.name = name
        self.config = config
        self.contribution_ppm = config.contribution_ppm
        self.reserve_ppm = config.reserve_ppm
        self.reset_micros = config.reset_minor * MICROS
        self.ceiling_micros = ceiling_micros(config)
        self.overflow_limit_micros = config.overflow_limit_minor * MICROS or MAX_ACCOUNT_MICROS
        takes_part = name.state in (Lifecycle.ACTIVE, Lifecycle.SHADOW)
        self.min_wager, self.max_wager = _wagers(config) if takes_part else _NOBODY
        self.shadow = int(name.state is Lifecycle.SHADOW)
        self.seed_commitment = commitment(seed)
        self.trigger: CycleTrigger = cycle_trigger(config, pool_id, name.opening, seed, digest_of_cycle)


def ceiling_micros(config: PoolConfig) -> int:
    """Where the pool stops to grow (PR-07): its trigger's ceiling, its own, or what an account can hold."""
    if isinstance(config.trigger, MustHitBy):
        return config.trigger.ceiling_minor * MICROS
    return config.ceiling_minor * MICROS or MAX_ACCOUNT_MICROS


def _wagers(config: PoolConfig) -> tuple[int, int]:
    largest = MAX_AMOUNT_MINOR
    if config.max_contribution_minor and config.contribution_ppm:
        largest = min(largest, config.max_contribution_minor * MICROS // config.contribution_ppm)
    return max(1, config.min_wager_minor), largest


class Rules:
    """All that decisions rest on beside the locked rows: configurations, and the seeds of committed cycles.

    `seeds`, by pool key and cycle, has exactly the cycles whose commitments are in the database; the owner
    may add to it. Terms are computed when first asked for and kept while their cycle runs.
    """

    def __init__(self, catalog: Catalog, seeds: Mapping[tuple[int, int], bytes]) -> None:
        self.catalog = catalog
        self.seeds = seeds
        self.eligibility = Eligibility(catalog)
        self._terms: dict[int, CycleTerms] = {}

    def is_committed(self, pool_key: int, cycle: int) -> bool:
        return (pool_key, cycle) in self.seeds

    def knows(self, pool: PoolState) -> bool:
        """Whether the configurations and the running seed of a locked pool are here."""
        configs = self.catalog.configs
        return (
            (pool.pool_key, pool.config_version) in configs
            and (pool.pool_key, pool.cycle_config_version) in configs
            and self.is_committed(pool.pool_key, pool.cycle)
        )

    def terms(self, pool_key: int, name: CycleName) -> CycleTerms:
        """The terms of a cycle. KeyError if its configurations or its seed are not here."""
        known = self._terms.get(pool_key)
        if known is not None and known.name == name:
            return known
        newest = self.catalog.configs[pool_key, name.config_version]
        of_cycle = self.catalog.configs[pool_key, name.cycle_config_version]
        terms = self._terms[pool_key] = CycleTerms(
            name,
            self.catalog.pool_ids[pool_key],
            running_config(newest.config, of_cycle.config),
            of_cycle.digest,
            self.seeds[pool_key, name.opening.cycle],
        )
        return terms

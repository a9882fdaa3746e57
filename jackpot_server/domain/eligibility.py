"""Which pools a spin takes part in, as far as the configurations alone decide it."""

from collections.abc import Collection
from typing import Final, NamedTuple

from jackpot_server.domain.catalog import Catalog
from jackpot_server.domain.commands import EligibilityKey
from jackpot_server.domain.facts import ShareRow, SkipReason
from jackpot_server.domain.pool import MAX_SHARES, PoolConfig

# Keys whose pools are kept; beyond it the cache starts anew, so that a caller cannot fill the memory.
_MAX_KEYS: Final = 16_384


class Candidates(NamedTuple):
    """Keys of the pools that take part, ascending; shares of those that stake kind or currency kept out."""

    pool_keys: tuple[int, ...]
    skipped: tuple[ShareRow, ...]


class Eligibility:
    """Answers from the newest configurations of one catalog, and remembers the answers."""

    def __init__(self, catalog: Catalog) -> None:
        self._pools = [
            (pool_key, version, catalog.configs[pool_key, version].config)
            for pool_key, version in sorted(catalog.newest.items())
            if pool_key not in catalog.closed
        ]
        self._known: dict[EligibilityKey, Candidates] = {}

    def candidates(self, key: EligibilityKey) -> Candidates:
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MAX_KEYS:
                self._known.clear()
            known = self._known[key] = self._find(*key)
        return known

    def _find(
        self,
        operator_id: str,
        currency_code: str,
        game_category: int,
        game_id: str,
        provider_name: str,
        stake_kind: int,
        country_code: str,
    ) -> Candidates:
        pool_keys: list[int] = []
        skipped: list[ShareRow] = []
        for pool_key, version, config in self._pools:
            if not (
                _takes(config.operator_ids, operator_id)
                and _takes(config.game_ids, game_id)
                and _takes(config.provider_names, provider_name)
                and _takes(config.game_categories, game_category)
                and _takes(config.country_codes, country_code)
            ):
                continue
            reason = _why_kept_out(config, currency_code, stake_kind)
            if reason is SkipReason.NOT_SKIPPED:
                pool_keys.append(pool_key)
            else:
                skipped.append((pool_key, 0, version, 0, 0, 0, 0, reason, 0))
        taking_part = tuple(pool_keys[:MAX_SHARES])
        return Candidates(taking_part, tuple(skipped[: MAX_SHARES - len(taking_part)]))


def _takes(wanted: Collection[str] | Collection[int], value: str | int) -> bool:
    return not wanted or value in wanted


def _why_kept_out(config: PoolConfig, currency_code: str, stake_kind: int) -> SkipReason:
    if config.currency_code != currency_code:
        return SkipReason.CURRENCY
    if not _takes(config.stake_kinds, stake_kind):
        return SkipReason.STAKE_KIND
    return SkipReason.NOT_SKIPPED

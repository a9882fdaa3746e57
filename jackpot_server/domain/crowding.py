"""Whether more pools take part in one spin than an answer can list. Pure."""

from collections.abc import Mapping
from typing import Final

from jackpot_server.domain.pool import MAX_SHARES, PoolConfig

# What pools choose their spins by; empty means everybody.
_CHOICES: Final = (
    "operator_ids",
    "game_ids",
    "provider_names",
    "game_categories",
    "stake_kinds",
    "country_codes",
)


def crowded(configs: Mapping[str, PoolConfig]) -> list[str]:
    """More than MAX_SHARES pools that one and the same spin would take part in, sorted; [] if there are none.

    Choice by choice, only spins that pools tell apart are looked at: those with a value that some pool names,
    and those with none of them.
    """
    by_currency: dict[str, set[str]] = {}
    for pool_id, config in configs.items():
        by_currency.setdefault(config.currency_code, set()).add(pool_id)
    groups = {frozenset(pool_ids) for pool_ids in by_currency.values()}
    for choice in _CHOICES:
        groups = {
            those
            for group in groups
            if len(group) > MAX_SHARES
            for those in _told_apart({pool_id: getattr(configs[pool_id], choice) for pool_id in group})
        }
    return sorted(max((group for group in groups if len(group) > MAX_SHARES), key=len, default=()))


def _told_apart(named: Mapping[str, tuple[object, ...]]) -> set[frozenset[str]]:
    """The pools that take each value that is named, and those that take one that is not."""
    everybody = frozenset(pool_id for pool_id, values in named.items() if not values)
    takers: dict[object, set[str]] = {}
    for pool_id, values in named.items():
        for value in values:
            takers.setdefault(value, set()).add(pool_id)
    return {everybody} | {everybody | pool_ids for pool_ids in takers.values()}

"""What a set of wanted pools would change: field by field, with when it takes effect. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple

from jackpot_server.domain.crowding import crowded
from jackpot_server.domain.pool import Lifecycle, PoolConfig, running_config


class Effect(StrEnum):
    """From when on a changed field counts (PR-08)."""

    NOW = "now"
    NEXT_CYCLE = "with the next cycle"


class FieldChange(NamedTuple):
    """One field of one pool. `before` is None for a new pool."""

    field: str
    before: Any
    after: Any
    effect: Effect


class PoolChange(NamedTuple):
    """A pool that is new, or whose configuration differs."""

    pool_id: str
    fields: tuple[FieldChange, ...]

    @property
    def before(self) -> dict[str, Any]:
        """What the fields are, for the audit trail; nothing of a new pool."""
        return {each.field: _plain(each.before) for each in self.fields if each.before is not None}

    @property
    def after(self) -> dict[str, Any]:
        """What they will be, and from when on."""
        return {
            each.field: {"value": _plain(each.after), "takes_effect": each.effect.value}
            for each in self.fields
        }


class Configured(NamedTuple):
    """A pool as it is: its newest configuration, and the one whose rates and odds its cycle keeps."""

    newest: PoolConfig
    of_cycle: PoolConfig
    state: Lifecycle


@dataclass(slots=True)
class Plan:
    """All that differs. `left_alone`: pools that are not wanted, which nothing happens to.

    `problems`: why nothing of it can be done, each with the key of its field.
    """

    created: list[PoolChange] = field(default_factory=list)
    changed: list[PoolChange] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether everything is as it is wanted."""
        return not (self.created or self.changed)


_OPTIONAL: Final = {each.name: each.default for each in fields(PoolConfig)}


def plan(known: Mapping[str, Configured], wanted: Mapping[str, PoolConfig]) -> Plan:
    """Compares what is with what is wanted, by pool id."""
    found = Plan(left_alone=sorted(known.keys() - wanted.keys()))
    for pool_id, config in wanted.items():
        pool = known.get(pool_id)
        if pool is None:
            found.created.append(PoolChange(pool_id, _fields_of_a_new_pool(config)))
        elif pool.newest == config:
            found.unchanged.append(pool_id)
        else:
            found.problems += _problems(pool_id, pool, config)
            found.changed.append(PoolChange(pool_id, _differences(pool, config)))
    found.problems += _crowding(known, wanted)
    return found


def _fields_of_a_new_pool(config: PoolConfig) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(name, None, getattr(config, name), Effect.NOW)
        for name, default in _OPTIONAL.items()
        if getattr(config, name) != default
    )


def _differences(pool: Configured, config: PoolConfig) -> tuple[FieldChange, ...]:
    goes_by = running_config(config, pool.of_cycle)
    return tuple(
        FieldChange(
            name,
            getattr(pool.newest, name),
            getattr(config, name),
            Effect.NOW if getattr(goes_by, name) == getattr(config, name) else Effect.NEXT_CYCLE,
        )
        for name in _OPTIONAL
        if getattr(pool.newest, name) != getattr(config, name)
    )


def _problems(pool_id: str, pool: Configured, config: PoolConfig) -> list[str]:
    problems = []
    if pool.newest.currency_code != config.currency_code:
        problems.append(
            f"pools.{pool_id}.currency_code: is {pool.newest.currency_code} and cannot be changed"
        )
    if pool.state is Lifecycle.CLOSED:
        problems.append(f"pools.{pool_id}: is closed for good; a new pool needs another id")
    return problems


def _crowding(known: Mapping[str, Configured], wanted: Mapping[str, PoolConfig]) -> list[str]:
    open_pools = {
        pool_id: pool.newest for pool_id, pool in known.items() if pool.state is not Lifecycle.CLOSED
    }
    pool_ids = crowded({**open_pools, **wanted})
    if not pool_ids:
        return []
    return [f"pools: one spin would take part in {len(pool_ids)} pools at once: {', '.join(pool_ids)}"]


def _plain(value: Any) -> Any:
    """JSON's own kinds stay, anything else becomes its text."""
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, int | str | bool) else repr(value)

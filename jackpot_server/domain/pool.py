"""A pool: how it is configured, where it stands, what a display shows of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, TypeAlias

MAX_SHARES: Final = 16
"""Pools that one spin can take part in, skipped ones included."""


class Lifecycle(IntEnum):
    """Numbers of `jackpot.v1.Pool.State`."""

    ACTIVE = 1
    PAUSED = 2
    SHADOW = 3
    CLOSED = 4


@dataclass(frozen=True, slots=True)
class Odds:
    """One in `one_in` per `per_wager_minor` wagered, in proportion to the wager (PR-12)."""

    one_in: int
    per_wager_minor: int


@dataclass(frozen=True, slots=True)
class MustHitBy:
    """Falls at a hidden amount between the two (PR-14); the ceiling is the pool's ceiling."""

    floor_minor: int
    ceiling_minor: int


@dataclass(frozen=True, slots=True)
class MustDropBy:
    """Falls to the first qualifying spin at or after a hidden moment of each period (PR-14).

    Periods end at `first_deadline` (UTC, a whole second) and every `period_s` after it.
    """

    period_s: int
    first_deadline: datetime


@dataclass(frozen=True, slots=True)
class GameSays:
    """Falls when the game names the pool's tier among those that it triggered."""


Trigger: TypeAlias = Odds | MustHitBy | MustDropBy | GameSays


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """`jackpot.v1.PoolConfig`, field by field. Empty sets of participants mean everybody; 0 means no limit.

    Enumerations are the contract's numbers. Sets are sorted tuples, so that equal configurations are equal.
    """

    display_name: str
    tier: str
    currency_code: str
    trigger: Trigger
    contribution_ppm: int
    reset_minor: int
    operator_ids: tuple[str, ...] = ()
    game_ids: tuple[str, ...] = ()
    provider_names: tuple[str, ...] = ()
    game_categories: tuple[int, ...] = (1,)
    stake_kinds: tuple[int, ...] = (1,)
    country_codes: tuple[str, ...] = ()
    min_wager_minor: int = 0
    reserve_ppm: int = 0
    max_contribution_minor: int = 0
    ceiling_minor: int = 0
    overflow_limit_minor: int = 0
    hold_wins_above_minor: int = 0
    allow_long_odds: bool = False


# What the running cycle keeps when the configuration changes (PR-08). The rest takes effect at once.
_KEPT_BY_THE_CYCLE: Final = (
    "tier",
    "trigger",
    "contribution_ppm",
    "reserve_ppm",
    "reset_minor",
    "ceiling_minor",
    "overflow_limit_minor",
    "allow_long_odds",
)

# How a trigger is written: the name of its field in the contract, and its own fields.
_TRIGGERS: Final[Mapping[str, type[Odds | MustHitBy | MustDropBy | GameSays]]] = {
    "odds": Odds,
    "must_hit_by": MustHitBy,
    "must_drop_by": MustDropBy,
    "game": GameSays,
}


def running_config(newest: PoolConfig, of_cycle: PoolConfig) -> PoolConfig:
    """What the pool goes by now: the newest configuration, but rates, odds, reset and limits of its cycle."""
    if newest is of_cycle:
        return newest
    return replace(newest, **{name: getattr(of_cycle, name) for name in _KEPT_BY_THE_CYCLE})


def trigger_name(trigger: Trigger) -> str:
    """As the contract and `jackpots.toml` call it."""
    return next(name for name, kind in _TRIGGERS.items() if isinstance(trigger, kind))


def canonical_text(config: PoolConfig) -> str:
    """The configuration as the one text that is stored and hashed: JSON, sorted, without what is default.

    A field that a later version adds leaves the text of older configurations as it is.
    """
    shown: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name == "trigger":
            shown[trigger_name(value)] = {
                part.name: _plain(getattr(value, part.name)) for part in fields(value)
            }
        elif value != field.default:
            shown[field.name] = list(value) if isinstance(value, tuple) else value
    return json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def parse_canonical(text: str) -> PoolConfig:
    """The configuration that `canonical_text` wrote."""
    shown: dict[str, Any] = json.loads(text)
    for name, kind in _TRIGGERS.items():
        if name in shown:
            parts = shown.pop(name)
            if kind is MustDropBy:
                parts["first_deadline"] = datetime.fromisoformat(parts["first_deadline"])
            shown["trigger"] = kind(**parts)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in shown.items()
    }
    return PoolConfig(**values)


def config_digest(text: str) -> bytes:
    """SHA-256 of a canonical text; enters every draw made under the configuration."""
    return hashlib.sha256(text.encode("ascii")).digest()


def _plain(value: int | datetime) -> int | str:
    return value.isoformat() if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool's row: changed once per batch, under its lock.

    `config_version` is the newest configuration, `cycle_config_version` the one whose rates, odds and reset
    the running cycle keeps. `version` counts every change of the row. `cycle_deadline`: by when the running
    cycle is to have fallen; None without such a trigger. `contribution_count`: shares that it took.
    """

    pool_key: int
    pool_id: str
    currency_code: str
    state: Lifecycle
    config_version: int
    cycle_config_version: int
    cycle: int
    cycle_start_micros: int
    cycle_start_time: datetime
    current_micros: int
    reserve_micros: int
    overflow_micros: int
    version: int
    update_time: datetime
    last_win_minor: int | None
    last_win_time: datetime | None
    cycle_deadline: datetime | None = None
    contribution_count: int = 0


@dataclass(frozen=True, slots=True)
class PoolView:
    """All that a `Pool` message shows, as of one committed version of the pool's row.

    `config` is what the pool goes by; `next_config` what it will go by with the next cycle, if that differs.
    """

    state: PoolState
    config: PoolConfig
    next_config: PoolConfig | None
    seed_commitment: bytes

    @property
    def key(self) -> str:
        """The pool's bare id."""
        return self.state.pool_id

    @property
    def version(self) -> int:
        return self.state.version


def pool_view(state: PoolState, newest: PoolConfig, of_cycle: PoolConfig, seed_commitment: bytes) -> PoolView:
    """`newest` and `of_cycle` are the configurations that `state` names; the commitment: of its cycle."""
    config = running_config(newest, of_cycle)
    return PoolView(state, config, newest if newest != config else None, seed_commitment)

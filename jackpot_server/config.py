"""Pools as code: `jackpots.toml`. Its keys are the fields of `jackpot.v1.PoolConfig`."""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jackpot_server.domain.commands import GameCategory, StakeKind
from jackpot_server.domain.pool import (
    GameSays,
    MustDropBy,
    MustHitBy,
    Odds,
    PoolConfig,
    Trigger,
    trigger_name,
)
from service_kit.money import CURRENCIES, MAX_ACCOUNT_MICROS, MAX_AMOUNT_MINOR, MICROS

MAX_POOL_MINOR: Final = MAX_ACCOUNT_MICROS // MICROS
WHOLE_WAGER_PPM: Final = 1_000_000
LONG_ODDS: Final = 10**8
MAX_ONE_IN: Final = 10**12
MAX_LISTED: Final = 10_000
SHORTEST_PERIOD_S: Final = 60
LONGEST_PERIOD_S: Final = 366 * 86_400
EARLIEST_DEADLINE: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_DEADLINE: Final = datetime(2100, 1, 1, tzinfo=UTC)

_ENUMS: Final[Mapping[str, type[GameCategory] | type[StakeKind]]] = {
    "game_categories": GameCategory,
    "stake_kinds": StakeKind,
}
_POOL_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,31}")
_OPAQUE_ID: Final = re.compile(r"[!-~]{1,64}")
_TIER: Final = re.compile(r"[!-+\--~]{1,32}")  # printable, without a space or a comma
_DISPLAY_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,256}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")


class InvalidConfig(Exception):
    """The file cannot be applied. `problems`: one line each, beginning with the key."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def read_file(path: Path) -> dict[str, PoolConfig]:
    """The file's pools by id. Raises InvalidConfig with every problem, or OSError."""
    return parse(path.read_bytes())


def parse(data: bytes) -> dict[str, PoolConfig]:
    """The pools of a `jackpots.toml` by id. Raises InvalidConfig with every problem of every pool."""
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig([f"the file is not TOML: {error}"]) from None
    problems = [f"{key}: not known; pools are tables [pools.ID]" for key in document if key != "pools"]
    pools = document.get("pools", {})
    if not isinstance(pools, dict) or not pools:
        raise InvalidConfig([*problems, "pools: at least one table [pools.ID] is needed"])
    parsed = {}
    for pool_id, table in pools.items():
        reader = _Table(f"pools.{pool_id}", table, problems)
        if not _POOL_ID.fullmatch(pool_id):
            problems.append(f"{reader.path}: an id is 2 to 32 of a–z, 0–9 and '-', starting with a letter")
        parsed[pool_id] = _pool(reader)
        reader.refuse_the_rest()
    if problems:
        raise InvalidConfig(problems)
    return parsed


def parse_pool(table: Any, path: str = "config") -> PoolConfig:
    """One pool from its table. Raises InvalidConfig with every problem, each behind `path`."""
    problems: list[str] = []
    reader = _Table(path, table, problems)
    pool = _pool(reader)
    reader.refuse_the_rest()
    if problems:
        raise InvalidConfig(problems)
    return pool


def merged(pool: PoolConfig, table: Mapping[str, Any], keys: Collection[str]) -> PoolConfig:
    """The pool with these keys (none: all) as `table` has them; one that it lacks goes back to its default.

    Raises InvalidConfig with every problem.
    """
    if not keys:
        return parse_pool(dict(table))
    kept = {key: value for key, value in as_table(pool).items() if key not in keys}
    return parse_pool(kept | {key: table[key] for key in keys if key in table})


def as_table(pool: PoolConfig) -> dict[str, Any]:
    """The pool as `jackpots.toml` has it: every key, names for enumerations; moments as datetimes."""
    table: dict[str, Any] = {}
    for each in fields(PoolConfig):
        value = getattr(pool, each.name)
        if each.name == "trigger":
            parts = {part.name: getattr(value, part.name) for part in fields(value)}
            table[each.name] = {trigger_name(value): parts}
        elif isinstance(value, tuple):
            names = _ENUMS.get(each.name)
            table[each.name] = [names(item).name if names else item for item in value]
        else:
            table[each.name] = value
    return table


class _Table:
    """One table of the file: values are taken out by key; what is wrong is added to the problems."""

    def __init__(self, path: str, table: Any, problems: list[str]) -> None:
        self.path = path
        self._problems = problems
        self._values: dict[str, Any] = dict(table) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            problems.append(f"{path}: must be a table")

    def problem(self, key: str, text: str) -> None:
        self._problems.append(f"{self.path}.{key}: {text}")

    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int:
        value = self._values.pop(key, default)
        if value is None:
            self.problem(key, "is needed")
        elif type(value) is not int or not least <= value <= most:  # a boolean is not a number here
            self.problem(key, f"must be a whole number from {least} to {most}")
        else:
            return value
        return least

    def whole_second(self, key: str) -> datetime:
        value = self._values.pop(key, None)
        if (
            isinstance(value, datetime)
            and value.tzinfo is not None
            and not value.microsecond
            and EARLIEST_DEADLINE <= value <= LATEST_DEADLINE
        ):
            return value.astimezone(UTC)
        self.problem(key, "must be a whole second between 2000 and 2100 with its time zone")
        return EARLIEST_DEADLINE

    def boolean(self, key: str) -> bool:
        value = self._values.pop(key, False)
        if not isinstance(value, bool):
            self.problem(key, "must be true or false")
        return value is True

    def text(self, key: str, pattern: re.Pattern[str], what: str, default: str | None = None) -> str:
        value = self._values.pop(key, default)
        if value is None:
            self.problem(key, "is needed")
        elif not isinstance(value, str) or not pattern.fullmatch(value):
            self.problem(key, f"must be {what}")
        else:
            return value
        return ""

    def texts(self, key: str, pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
        return self._set(key, lambda value: value if pattern.fullmatch(value) else None, what)

    def enums(self, key: str, names: Mapping[str, int], default: int) -> tuple[int, ...]:
        values = self._set(key, names.get, f"of {', '.join(names)}")
        return values or (default,)

    def _set(self, key: str, parse_one: Callable[[str], Any], what: str) -> tuple[Any, ...]:
        values = self._values.pop(key, [])
        if not isinstance(values, list) or len(values) > MAX_LISTED:
            self.problem(key, f"must be a list of at most {MAX_LISTED}")
            return ()
        parsed = [parse_one(value) if isinstance(value, str) else None for value in values]
        if None in parsed:
            self.problem(key, f"each must be {what}")
            return ()
        return tuple(sorted(set(parsed)))

    def table(self, key: str) -> "_Table | None":
        if key not in self._values:
            return None
        return _Table(f"{self.path}.{key}", self._values.pop(key), self._problems)

    def refuse_the_rest(self) -> None:
        for key in self._values:
            self.problem(key, "not known")


def _pool(table: _Table) -> PoolConfig:
    trigger = _trigger(table)
    config = PoolConfig(
        display_name=table.text("display_name", _DISPLAY_NAME, "1 to 256 characters"),
        tier=table.text("tier", _TIER, "1 to 32 printable characters without space or comma"),
        currency_code=table.text("currency_code", re.compile("[A-Z]{3,8}"), "a currency's code"),
        trigger=trigger,
        contribution_ppm=table.integer("contribution_ppm", 0, WHOLE_WAGER_PPM),
        reset_minor=table.integer("reset_minor", 1, MAX_POOL_MINOR),
        operator_ids=table.texts("operator_ids", _OPAQUE_ID, "an id"),
        game_ids=table.texts("game_ids", _OPAQUE_ID, "an id"),
        provider_names=table.texts("provider_names", _OPAQUE_ID, "a provider's name"),
        game_categories=table.enums(
            "game_categories", {kind.name: int(kind) for kind in GameCategory}, GameCategory.SLOTS
        ),
        stake_kinds=table.enums("stake_kinds", {kind.name: int(kind) for kind in StakeKind}, StakeKind.CASH),
        country_codes=table.texts("country_codes", _COUNTRY, "two capital letters"),
        min_wager_minor=table.integer("min_wager_minor", 0, MAX_AMOUNT_MINOR, 0),
        reserve_ppm=table.integer("reserve_ppm", 0, WHOLE_WAGER_PPM, 0),
        max_contribution_minor=table.integer("max_contribution_minor", 0, MAX_POOL_MINOR, 0),
        ceiling_minor=table.integer("ceiling_minor", 0, MAX_POOL_MINOR, 0),
        overflow_limit_minor=table.integer("overflow_limit_minor", 0, MAX_POOL_MINOR, 0),
        hold_wins_above_minor=table.integer("hold_wins_above_minor", 0, MAX_POOL_MINOR, 0),
        allow_long_odds=table.boolean("allow_long_odds"),
    )
    _check_together(table, config)
    return config


def _trigger(table: _Table) -> Trigger:
    found: list[Trigger] = []
    triggers = table.table("trigger")
    if triggers is not None:
        if (odds := triggers.table("odds")) is not None:
            found.append(
                Odds(
                    one_in=odds.integer("one_in", 1, MAX_ONE_IN),
                    per_wager_minor=odds.integer("per_wager_minor", 1, MAX_AMOUNT_MINOR),
                )
            )
            odds.refuse_the_rest()
        if (must_hit_by := triggers.table("must_hit_by")) is not None:
            found.append(
                MustHitBy(
                    floor_minor=must_hit_by.integer("floor_minor", 1, MAX_POOL_MINOR),
                    ceiling_minor=must_hit_by.integer("ceiling_minor", 1, MAX_POOL_MINOR),
                )
            )
            must_hit_by.refuse_the_rest()
        if (must_drop_by := triggers.table("must_drop_by")) is not None:
            found.append(
                MustDropBy(
                    period_s=must_drop_by.integer("period_s", SHORTEST_PERIOD_S, LONGEST_PERIOD_S),
                    first_deadline=must_drop_by.whole_second("first_deadline"),
                )
            )
            must_drop_by.refuse_the_rest()
        if (game := triggers.table("game")) is not None:
            found.append(GameSays())
            game.refuse_the_rest()
        triggers.refuse_the_rest()
    if len(found) != 1:
        table.problem("trigger", "needs exactly one of odds, must_hit_by, must_drop_by, game")
        return Odds(1, 1)
    return found[0]


def _check_together(table: _Table, config: PoolConfig) -> None:
    """What no field is wrong in alone."""
    if config.currency_code and config.currency_code not in CURRENCIES:
        table.problem("currency_code", "neither a currency of ISO 4217 nor a declared one")
    if config.contribution_ppm + config.reserve_ppm > WHOLE_WAGER_PPM:
        table.problem("reserve_ppm", "with contribution_ppm it takes more than the wager")
    if config.ceiling_minor and config.ceiling_minor <= config.reset_minor:
        table.problem("ceiling_minor", "must be above reset_minor")
    match config.trigger:
        case Odds(one_in=one_in):
            if one_in > LONG_ODDS and not config.allow_long_odds:
                table.problem("trigger.odds.one_in", "beyond 10^8: needs allow_long_odds = true")
        case MustHitBy(floor_minor=floor, ceiling_minor=ceiling):
            if floor > ceiling:
                table.problem("trigger.must_hit_by.floor_minor", "must not be above ceiling_minor")
            if ceiling <= config.reset_minor:
                table.problem("trigger.must_hit_by.ceiling_minor", "must be above reset_minor")
            if config.ceiling_minor:
                table.problem("ceiling_minor", "the ceiling of must_hit_by is the pool's ceiling")
            if not config.contribution_ppm:
                table.problem("contribution_ppm", "must be above 0: the pool would never reach its amount")

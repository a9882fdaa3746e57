"""Reads games.toml: the games, their pay tables, and the providers that may hit jackpot tiers.

    [providers]
    may_trigger_tiers = ["house"]          # may send `triggered_tiers`; optional

    [[games]]
    game_id = "demo-slots"                 # 1-64 printable characters without spaces
    display_name = "Demo Slots"
    category = "SLOTS"                     # SLOTS, TABLE, LIVE, CRASH, BINGO, SPORTS or OTHER
    provider_name = "house"
    currency_code = "COIN"
    min_wager_minor = 1
    max_wager_minor = 10000
    enabled = true                         # the default
    pay_table = [                          # left out: SettleSpin only
        { multiplier_ppm = 0, weight = 70 },
        { multiplier_ppm = 2000000, weight = 30 },
    ]

A pay table must be exact: its return is a whole number of ppm, and every prize of every allowed wager is a
whole number of minor units, so nothing is ever rounded away from a player.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service_kit.errors import StartRefused
from service_kit.money import CURRENCIES, MAX_AMOUNT_MINOR
from spin_server.domain.game import PPM, Catalog, Game, GameCategory, PayTable, Prize

MAX_TICKETS = 2**53
MAX_RETURN_PPM = 2**31 - 1

Identifier = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]
Amount = Annotated[int, Field(ge=1, le=MAX_AMOUNT_MINOR)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Model = TypeVar("Model", bound=_Strict)


class _Prize(_Strict):
    multiplier_ppm: Annotated[int, Field(ge=0, le=MAX_AMOUNT_MINOR * PPM)]
    weight: Annotated[int, Field(ge=1, le=MAX_TICKETS)]


class _Game(_Strict):
    game_id: Identifier
    display_name: Annotated[str, Field(min_length=1, max_length=256)]
    category: Annotated[str, Field(pattern="^(" + "|".join(GameCategory.__members__) + r")$")]
    provider_name: Identifier
    currency_code: str
    min_wager_minor: Amount
    max_wager_minor: Amount
    enabled: bool = True
    pay_table: Annotated[list[_Prize], Field(min_length=1)] | None = None


class _Providers(_Strict):
    may_trigger_tiers: list[Identifier] = []


def load_games(path: Path) -> Catalog:
    """The catalog of a file; StartRefused naming the file and every problem with its key."""
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartRefused(f"{path}: {error}") from error
    catalog, problems = read_catalog(document)
    if catalog is None:
        raise StartRefused("\n".join(f"{path}: {problem}" for problem in problems))
    return catalog


def read_catalog(document: dict[str, Any]) -> tuple[Catalog | None, list[str]]:
    """The catalog of a parsed file, or None and every problem, each beginning with its key."""
    problems = [f"{key}: is not known" for key in document.keys() - {"games", "providers"}]
    providers = _shape(_Providers, document.get("providers", {}), "providers", problems)
    entries = document.get("games", [])
    if not isinstance(entries, list) or not entries:
        problems.append("games: at least one [[games]] is needed")
        entries = []
    games: list[Game] = []
    for index, entry in enumerate(entries):
        shaped = _shape(_Game, entry, f"games[{index}]", problems)
        if shaped is not None:
            problems += [f"games[{index}].{problem}" for problem in _inconsistencies(shaped)]
            games.append(_game(shaped))
    repeated = [game_id for game_id, count in Counter(game.game_id for game in games).items() if count > 1]
    problems += [f"games: {game_id} is there more than once" for game_id in repeated]
    if problems or providers is None:
        return None, problems
    return Catalog({game.game_id: game for game in games}, frozenset(providers.may_trigger_tiers)), []


def _shape(model: type[Model], value: object, key: str, problems: list[str]) -> Model | None:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        for detail in error.errors():
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
            problems.append(f"{key}{path}: {detail['msg']}")
        return None


def _inconsistencies(game: _Game) -> Iterator[str]:
    """What no single field shows."""
    if game.currency_code not in CURRENCIES:
        yield f"currency_code: {game.currency_code} is not a known currency"
    if game.min_wager_minor > game.max_wager_minor:
        yield "max_wager_minor: is below min_wager_minor"
    if game.pay_table is None:
        return
    table = _pay_table(game.pay_table)
    if table.tickets > MAX_TICKETS:
        yield f"pay_table: the weights add up to more than {MAX_TICKETS}"
    return_ppm, remainder = table.exact_return()
    if remainder:
        yield f"pay_table: returns {return_ppm} and {remainder}/{table.tickets} ppm; must be whole"
    if return_ppm > MAX_RETURN_PPM:
        yield f"pay_table: returns more than {MAX_RETURN_PPM} ppm"
    one_wager = game.min_wager_minor == game.max_wager_minor
    for index, prize in enumerate(game.pay_table):
        if (prize.multiplier_ppm * (game.min_wager_minor if one_wager else 1)) % PPM:
            yield f"pay_table[{index}].multiplier_ppm: does not pay whole minor units of every wager"
        if prize.multiplier_ppm * game.max_wager_minor > MAX_AMOUNT_MINOR * PPM:
            yield f"pay_table[{index}].multiplier_ppm: pays more than {MAX_AMOUNT_MINOR} of the highest wager"


def _pay_table(prizes: list[_Prize]) -> PayTable:
    return PayTable(tuple(Prize(prize.multiplier_ppm, prize.weight) for prize in prizes))


def _game(shaped: _Game) -> Game:
    return Game(
        game_id=shaped.game_id,
        display_name=shaped.display_name,
        category=GameCategory[shaped.category],
        provider_name=shaped.provider_name,
        currency_code=shaped.currency_code,
        min_wager_minor=shaped.min_wager_minor,
        max_wager_minor=shaped.max_wager_minor,
        enabled=shaped.enabled,
        pay_table=_pay_table(shaped.pay_table) if shaped.pay_table is not None else None,
    )

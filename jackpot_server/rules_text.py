"""What a player must be told of a pool (R13), written from the configuration that decides, line by line."""

from collections.abc import Iterator
from typing import Final

from jackpot_server.domain.commands import GameCategory, StakeKind
from jackpot_server.domain.pool import (
    GameSays,
    Lifecycle,
    MustDropBy,
    MustHitBy,
    Odds,
    PoolConfig,
    PoolView,
)
from service_kit.money import format_minor

_PPM: Final = 1_000_000
_PPM_OF_A_PERCENT: Final = 10_000
_STAKES: Final = {
    StakeKind.CASH: "paid in cash",
    StakeKind.BONUS: "paid with bonus money",
    StakeKind.FREE_ROUND: "of free rounds",
}
_DURATIONS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def pool_rules(view: PoolView) -> list[str]:
    """The rules of the running cycle; then the lines that a change for the next one makes different."""
    now = list(_rules(view.config))
    lines = [*now, *_state_of(view)]
    if view.next_config is not None:
        coming = [line for line in _rules(view.next_config) if line not in now]
        lines += [f"From the next jackpot on, after this one is won: {line}" for line in coming]
    return lines


def _rules(config: PoolConfig) -> Iterator[str]:
    yield (
        f"{config.display_name} is a progressive jackpot of the tier {config.tier}, in "
        f"{config.currency_code}."
    )
    yield from _who_takes_part(config)
    yield from _funding(config)
    yield from _start_and_ceiling(config)
    yield from _how_it_falls(config)
    yield from _return_to_player(config)
    yield (
        "The winner gets the amount shown, with the share of the winning spin in it, in whole minor units of "
        "the currency; the fraction below them stays in the jackpot."
    )
    yield (
        "Spins are decided one after another, in the order in which they are recorded. If two would win at "
        "nearly the same time, the first one wins the jackpot and the second one the jackpot as it has "
        "started "
        "again. A spin may win several jackpots, each of them once."
    )
    if config.hold_wins_above_minor:
        yield (
            f"A win above {_money(config, config.hold_wins_above_minor)} is checked by two people before it "
            "is paid."
        )
    yield "A win never expires. It is paid to the wallet that paid the wager."
    yield "Displays may be up to a second behind the jackpot."


def _who_takes_part(config: PoolConfig) -> Iterator[str]:
    categories = " and ".join(GameCategory(number).name for number in config.game_categories)
    stakes = " or ".join(_STAKES[StakeKind(number)] for number in config.stake_kinds)
    limits = [
        f"{what}: {', '.join(ids)}"
        for what, ids in (
            ("games", config.game_ids),
            ("providers", config.provider_names),
            ("operators", config.operator_ids),
            ("countries", config.country_codes),
        )
        if ids
    ]
    only = f", only of these {'; '.join(limits)}" if limits else ""
    least = f" of at least {_money(config, config.min_wager_minor)}" if config.min_wager_minor > 1 else ""
    yield f"Every wager{least} {stakes} takes part in games of the category {categories}{only}."
    if config.max_contribution_minor:
        yield (
            "A wager whose share would be above "
            f"{_money(config, config.max_contribution_minor)} takes no part."
        )


def _funding(config: PoolConfig) -> Iterator[str]:
    if config.contribution_ppm:
        yield (
            f"{_percent(config.contribution_ppm)} of each such wager goes into the jackpot, exactly and "
            "unrounded. "
            "The operator pays it: the player pays the wager and nothing more."
        )
    else:
        yield "Wagers add nothing to the jackpot."
    if config.reserve_ppm:
        yield (
            f"A further {_percent(config.reserve_ppm)} goes into a reserve, from which the jackpot is filled "
            "when it starts again."
        )


def _start_and_ceiling(config: PoolConfig) -> Iterator[str]:
    yield (
        f"After each win the jackpot starts again at {_money(config, config.reset_minor)}, together with "
        "what its "
        "overflow holds. The overflow pays first, then the reserve, then the house."
    )
    ceiling = config.trigger.ceiling_minor if isinstance(config.trigger, MustHitBy) else config.ceiling_minor
    if not ceiling:
        yield "The jackpot has no ceiling."
        return
    limit = config.overflow_limit_minor
    beyond = f" Beyond {_money(config, limit)} the overflow runs into the reserve." if limit else ""
    yield (
        f"The jackpot does not grow above {_money(config, ceiling)}. What is more goes into an overflow, "
        "which "
        f"is part of the next jackpot; no share is refused or lost.{beyond}"
    )


def _how_it_falls(config: PoolConfig) -> Iterator[str]:
    match config.trigger:
        case Odds(one_in, per_wager_minor):
            yield (
                f"Each spin that takes part makes one draw. A wager of {_money(config, per_wager_minor)} "
                "wins with "
                f"a chance of 1 in {one_in:,}; a wager of twice as much has twice the chance, half of it "
                "half, "
                "and nobody's chance depends on earlier spins or on the amount of the jackpot."
            )
            yield "The draw itself does not depend on the wager, only what it has to be below."
        case MustHitBy(floor_minor, ceiling_minor):
            low = max(floor_minor, config.reset_minor)
            yield (
                "The jackpot falls when it reaches a hidden amount, which is drawn when the jackpot starts: "
                "each "
                f"amount from {_money(config, low)}, or from where it starts if that is more, to "
                f"{_money(config, ceiling_minor)} is equally likely, to a millionth of a minor unit. The "
                "spin whose "
                "share lifts the jackpot to the hidden amount wins."
            )
        case MustDropBy(period_s, first_deadline):
            yield (
                f"The jackpot falls once in each period of {_duration(period_s)}. Periods end at "
                f"{first_deadline:%Y-%m-%d %H:%M:%S} UTC and every {_duration(period_s)} after it."
            )
            yield (
                "For each period a hidden moment is drawn when the jackpot starts; each moment of the "
                "period that is "
                "still to come is equally likely. The first spin that takes part at or after it wins, "
                "whatever its "
                "wager. If none comes by the end of the period, the first one after it wins."
            )
            yield "What counts is when the jackpot server records the spin, by the clock of its database."
        case GameSays():
            yield (
                "The game decides when the jackpot falls, by the game's own rules: the spin for which it "
                "reports "
                f"the tier {config.tier} wins."
            )
    if not isinstance(config.trigger, GameSays):
        yield (
            "The draw follows from a secret whose fingerprint was published before, from the spin's id and "
            "from "
            "a seed of the player's own if the game offers to set one. Once the jackpot has been won, the "
            "secret is "
            "published too, and anybody can repeat the draw."
        )


def _return_to_player(config: PoolConfig) -> Iterator[str]:
    """As a part of what is wagered: shares are paid out sooner or later, and each win begins with a reset."""
    share = config.contribution_ppm
    match config.trigger:
        case Odds(one_in, per_wager_minor):
            seed = config.reset_minor * _PPM // (one_in * per_wager_minor)
        case MustHitBy(floor_minor, ceiling_minor):
            low = max(floor_minor, config.reset_minor)
            # On average the jackpot falls halfway between the two.
            seed = config.reset_minor * share * 2 // (low + ceiling_minor - 2 * config.reset_minor)
        case _:
            yield (
                f"In the long run {_percent(share)} of what is wagered returns to players through the "
                "shares, and "
                f"{_money(config, config.reset_minor)} more with each win."
            )
            return
    yield (
        f"In the long run about {_percent(share + seed)} of what is wagered returns to players through this "
        f"jackpot: {_percent(share)} through the shares, about {_percent(seed)} through the amounts that it "
        "starts with."
    )


def _state_of(view: PoolView) -> Iterator[str]:
    state = view.state
    if state.cycle_deadline is not None:
        yield f"The running jackpot is to fall by {state.cycle_deadline:%Y-%m-%d %H:%M:%S} UTC."
    match state.state:
        case Lifecycle.PAUSED:
            yield (
                "The jackpot is paused: it keeps its amount, takes no share and cannot be won until it goes "
                "on."
            )
        case Lifecycle.SHADOW:
            yield "The jackpot is only being tried: nobody pays into it and nobody is paid."
        case Lifecycle.CLOSED:
            yield "The jackpot is closed: what it held was moved to another jackpot of the same currency."
        case Lifecycle.ACTIVE:
            pass


def _money(config: PoolConfig, amount_minor: int) -> str:
    return format_minor(amount_minor, config.currency_code)


def _percent(ppm: int) -> str:
    """Exact: `0.15 %`."""
    whole, rest = divmod(ppm, _PPM_OF_A_PERCENT)
    digits = f"{rest:04d}".rstrip("0")
    return f"{whole}.{digits} %" if digits else f"{whole} %"


def _duration(seconds: int) -> str:
    size, name = next((size, name) for size, name in _DURATIONS if seconds % size == 0)
    count = seconds // size
    return f"1 {name}" if count == 1 else f"{count:,} {name}s"

"""What makes a pool fall: one object per cycle, with everything computed that a spin does not change."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Protocol

from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.draw import (
    Draws,
    draw_prefix,
    draw_suffix,
    hidden_amount,
    hidden_moment,
    threshold,
)
from jackpot_server.domain.facts import Proof
from jackpot_server.domain.pool import GameSays, MustDropBy, MustHitBy, Odds, PoolConfig, Trigger
from service_kit.money import MICROS

# Wagers whose thresholds are kept; players bet a handful of amounts.
_MAX_THRESHOLDS: Final = 256

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Opening(NamedTuple):
    """What a cycle opened with; its hidden amount or moment follows from it, seed and configuration."""

    cycle: int
    start_micros: int
    start_time: datetime
    deadline: datetime | None


class CycleTrigger(Protocol):
    """Decides for one spin after its share went in; `now` was read under the pool's lock."""

    def falls(self, command: Contribute, current_micros: int, now: datetime) -> Proof | None:
        """Why the pool falls to this spin; None if it does not."""


class OddsDraw:
    """One draw per spin, below a threshold in proportion to the wager (PR-12)."""

    __slots__ = ("_digest", "_draws", "_odds", "_prefix", "_suffix", "_thresholds")

    def __init__(self, odds: Odds, pool_id: str, cycle: int, seed: bytes, config_sha256: bytes) -> None:
        self._odds = odds
        self._draws = Draws(seed)
        self._digest = config_sha256
        self._prefix = draw_prefix(pool_id, cycle)
        self._suffix = draw_suffix("", config_sha256)
        self._thresholds: dict[int, int] = {}

    def falls(self, command: Contribute, current_micros: int, now: datetime) -> Proof | None:
        suffix = self._suffix if not command.client_seed else draw_suffix(command.client_seed, self._digest)
        value = self._draws.draw(self._prefix, command.spin_id.bytes, suffix)
        limit = self._thresholds.get(command.wager_minor) or self._threshold(command.wager_minor)
        return Proof(value=value, threshold=limit) if value < limit else None

    def _threshold(self, wager_minor: int) -> int:
        if len(self._thresholds) >= _MAX_THRESHOLDS:
            self._thresholds.clear()
        limit = self._thresholds[wager_minor] = threshold(self._odds, wager_minor)
        return limit


class HiddenAmount:
    """Falls to the contribution with which the pool reaches the hidden amount (PR-14)."""

    __slots__ = ("_hidden_micros", "_start_micros")

    def __init__(
        self, trigger: MustHitBy, pool_id: str, opening: Opening, seed: bytes, config_sha256: bytes
    ) -> None:
        low, high = hidden_range(trigger, opening.start_micros)
        self._start_micros = opening.start_micros
        self._hidden_micros = hidden_amount(seed, pool_id, opening.cycle, config_sha256, low, high)

    def falls(self, command: Contribute, current_micros: int, now: datetime) -> Proof | None:
        if current_micros < self._hidden_micros:
            return None
        return Proof(
            reached=current_micros, hidden=self._hidden_micros, cycle_start_micros=self._start_micros
        )


class HiddenMoment:
    """Falls to the first spin at or after the hidden moment of its period, however late it comes (PR-14)."""

    __slots__ = ("_hidden", "_moment", "_opening")

    def __init__(
        self, trigger: MustDropBy, pool_id: str, opening: Opening, seed: bytes, config_sha256: bytes
    ) -> None:
        if opening.deadline is None:
            raise ValueError(f"pool {pool_id}: cycle {opening.cycle} has no deadline")
        earliest, latest = moment_range(trigger, opening.start_time, opening.deadline)
        self._opening = opening
        self._hidden = hidden_moment(seed, pool_id, opening.cycle, config_sha256, earliest, latest)
        self._moment = moment_of(self._hidden)

    def falls(self, command: Contribute, current_micros: int, now: datetime) -> Proof | None:
        if now < self._moment:
            return None
        return Proof(
            reached=since_1970(now),
            hidden=self._hidden,
            cycle_start_time=self._opening.start_time,
            cycle_deadline=self._opening.deadline,
        )


class GamesWord:
    """Falls to a spin whose game names the pool's tier among those that it triggered."""

    __slots__ = ("_tier",)

    def __init__(self, tier: str) -> None:
        self._tier = tier

    def falls(self, command: Contribute, current_micros: int, now: datetime) -> Proof | None:
        return Proof() if self._tier in command.triggered_tiers else None


def hidden_range(trigger: MustHitBy, start_micros: int) -> tuple[int, int]:
    """The least and the greatest hidden amount of a cycle that opened with `start_micros`."""
    ceiling = trigger.ceiling_minor * MICROS
    return min(max(trigger.floor_minor * MICROS, start_micros), ceiling), ceiling


def moment_range(trigger: MustDropBy, start_time: datetime, deadline: datetime) -> tuple[int, int]:
    """The earliest and the latest hidden moment of a cycle, in microseconds since 1970: from the period's
    begin, or the cycle's own if that is later, to the deadline; both included.
    """
    earliest = max(start_time, deadline - timedelta(seconds=trigger.period_s))
    return since_1970(min(earliest, deadline)), since_1970(deadline)


def deadline_of_cycle(trigger: Trigger, opened: datetime, last_deadline: datetime | None) -> datetime | None:
    """By when a cycle that opens now is to have fallen: the first deadline that is still ahead, and later
    than that of the cycle before it, so that a pool which fell in time falls in the next period again.

    `last_deadline` is None if there was no cycle before it, or if that one went by another trigger.
    """
    if not isinstance(trigger, MustDropBy):
        return None
    after = opened if last_deadline is None else max(opened, last_deadline)
    period = timedelta(seconds=trigger.period_s)
    periods = (after - trigger.first_deadline) // period + 1
    return trigger.first_deadline + max(periods, 0) * period


def since_1970(moment: datetime) -> int:
    """A moment in microseconds, as the database keeps it; exact."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(micros: int) -> datetime:
    """The moment so many microseconds after 1970; exact."""
    return _EPOCH + micros * _MICROSECOND


def cycle_trigger(
    config: PoolConfig, pool_id: str, opening: Opening, seed: bytes, config_sha256: bytes
) -> CycleTrigger:
    """The trigger of one cycle; `config` and its digest are those that the cycle keeps."""
    match config.trigger:
        case Odds() as odds:
            return OddsDraw(odds, pool_id, opening.cycle, seed, config_sha256)
        case MustHitBy() as trigger:
            return HiddenAmount(trigger, pool_id, opening, seed, config_sha256)
        case MustDropBy() as trigger:
            return HiddenMoment(trigger, pool_id, opening, seed, config_sha256)
        case GameSays():
            return GamesWord(config.tier)

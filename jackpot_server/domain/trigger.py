"""What makes a pool fall: one object per cycle, with everything computed that a spin does not change."""

from typing import Final, Protocol

from jackpot_server.domain.commands import Contribute
from jackpot_server.domain.draw import Draws, draw_prefix, draw_suffix, hidden_amount, threshold
from jackpot_server.domain.facts import Proof
from jackpot_server.domain.pool import MustHitBy, Odds, PoolConfig
from service_kit.money import MICROS

# Wagers whose thresholds are kept; players bet a handful of amounts.
_MAX_THRESHOLDS: Final = 256


class CycleTrigger(Protocol):
    """Decides for one spin after its share went in."""

    def falls(self, command: Contribute, current_micros: int) -> Proof | None:
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

    def falls(self, command: Contribute, current_micros: int) -> Proof | None:
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
        self,
        trigger: MustHitBy,
        pool_id: str,
        cycle: int,
        seed: bytes,
        config_sha256: bytes,
        start_micros: int,
    ) -> None:
        lowest, ceiling = hidden_range(trigger, start_micros)
        self._start_micros = start_micros
        self._hidden_micros = hidden_amount(seed, pool_id, cycle, config_sha256, lowest, ceiling)

    def falls(self, command: Contribute, current_micros: int) -> Proof | None:
        if current_micros < self._hidden_micros:
            return None
        return Proof(
            reached=current_micros, hidden=self._hidden_micros, cycle_start_micros=self._start_micros
        )


def hidden_range(trigger: MustHitBy, start_micros: int) -> tuple[int, int]:
    """The least and the greatest hidden amount of a cycle that opened with `start_micros`."""
    ceiling = trigger.ceiling_minor * MICROS
    return min(max(trigger.floor_minor * MICROS, start_micros), ceiling), ceiling


def cycle_trigger(
    config: PoolConfig, pool_id: str, cycle: int, seed: bytes, config_sha256: bytes, start_micros: int
) -> CycleTrigger:
    """The trigger of one cycle; `config` and its digest are those that the cycle keeps."""
    match config.trigger:
        case Odds() as odds:
            return OddsDraw(odds, pool_id, cycle, seed, config_sha256)
        case MustHitBy() as trigger:
            return HiddenAmount(trigger, pool_id, cycle, seed, config_sha256, start_micros)
        case _:
            raise ValueError(f"pool {pool_id}: its trigger cannot be decided by this version")

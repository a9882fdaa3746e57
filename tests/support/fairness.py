"""The test vectors of docs/fairness.md, made by the code that draws: `python -m tests.support.fairness`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from jackpot_server.domain.draw import (
    Draws,
    commitment,
    cycle_seed,
    draw_bytes,
    draw_prefix,
    draw_suffix,
    hidden_amount,
    hidden_moment,
    threshold,
)
from jackpot_server.domain.pool import MustDropBy, MustHitBy, Odds, Trigger, canonical_text, config_digest
from jackpot_server.domain.trigger import hidden_range, moment_range
from tests.support.engine import pool_config

FILE = Path(__file__).parents[2] / "docs/fairness-vectors.json"
ROOT_KEY = bytes(range(32))
SPINS = ("00000000-0000-0000-0000-000000000001", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)


def vectors() -> dict[str, Any]:
    """All of them; every number that may exceed 53 bits is a text."""
    return {
        "root_key": ROOT_KEY.hex(),
        "seeds": [_seed(pool, cycle) for pool, cycle in (("mini", 1), ("mini", 2), ("grand", 4_294_967_297))],
        "draws": [
            _draw(spin, client_seed, wager, odds)
            for odds in (Odds(5, 100), Odds(200_000, 100), Odds(1, 1))
            for spin, client_seed, wager in (
                (SPINS[0], "", 100),
                (SPINS[0], "", 1),
                (SPINS[1], "lucky seven", 100),
                (SPINS[1], "glücklich", 2_500),
            )
        ],
        "hidden_amounts": [
            _amount(cycle, start) for cycle in (1, 2, 3) for start in (10_000_000, 45_000_000)
        ],
        "hidden_moments": [_moment(cycle, opened) for cycle in (1, 2) for opened in (1, 13)],
    }


def _seed(pool: str, cycle: int) -> dict[str, Any]:
    seed = cycle_seed(ROOT_KEY, pool, cycle)
    return {
        "pool": pool,
        "cycle": str(cycle),
        "seed": seed.hex(),
        "commitment": commitment(seed).hex(),
    }


def _config(trigger: Trigger) -> str:
    return canonical_text(pool_config(trigger, reset_minor=10))


def _draw(spin: str, client_seed: str, wager_minor: int, odds: Odds) -> dict[str, Any]:
    config = _config(odds)
    seed = cycle_seed(ROOT_KEY, "grand", 7)
    suffix = draw_suffix(client_seed, config_digest(config))
    value = Draws(seed).draw(draw_prefix("grand", 7), UUID(spin).bytes, suffix)
    limit = threshold(odds, wager_minor)
    return {
        "pool": "grand",
        "cycle": "7",
        "seed": seed.hex(),
        "spin_id": spin,
        "client_seed": client_seed,
        "wager_minor": str(wager_minor),
        "config": config,
        "config_sha256": config_digest(config).hex(),
        "one_in": str(odds.one_in),
        "per_wager_minor": str(odds.per_wager_minor),
        "value": draw_bytes(value).hex(),
        "threshold": draw_bytes(limit).hex(),
        "won": value < limit,
    }


def _amount(cycle: int, start_micros: int) -> dict[str, Any]:
    trigger = MustHitBy(floor_minor=20, ceiling_minor=60)
    config = _config(trigger)
    low, high = hidden_range(trigger, start_micros)
    seed = cycle_seed(ROOT_KEY, "mini", cycle)
    return {
        "pool": "mini",
        "cycle": str(cycle),
        "seed": seed.hex(),
        "cycle_start_micros": str(start_micros),
        "floor_minor": "20",
        "ceiling_minor": "60",
        "config_sha256": config_digest(config).hex(),
        "hidden_micros": str(hidden_amount(seed, "mini", cycle, config_digest(config), low, high)),
    }


def _moment(cycle: int, opened_hour: int) -> dict[str, Any]:
    trigger = MustDropBy(period_s=43_200, first_deadline=MIDNIGHT)
    config = _config(trigger)
    opened = datetime(2026, 1, 1, opened_hour, tzinfo=UTC)
    earliest, latest = moment_range(trigger, opened, MIDNIGHT)
    seed = cycle_seed(ROOT_KEY, "daily", cycle)
    return {
        "pool": "daily",
        "cycle": str(cycle),
        "seed": seed.hex(),
        "cycle_start_us": str(int(opened.timestamp()) * 1_000_000),
        "deadline_us": str(int(MIDNIGHT.timestamp()) * 1_000_000),
        "period_s": "43200",
        "config_sha256": config_digest(config).hex(),
        "hidden_us": str(hidden_moment(seed, "daily", cycle, config_digest(config), earliest, latest)),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

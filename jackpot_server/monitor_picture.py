"""What the monitor has seen: one look at everything, and what there is to show of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jackpot_server.scrape import Series, Times
from protos.jackpot.v1 import jackpot_pb2 as pb


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything; None for what did not answer."""

    at_s: float
    pools: Sequence[pb.Pool] | None
    wins: Sequence[pb.Win] | None
    info: pb.GetServerInfoResponse | None
    jackpot: Series | None
    spin: Series | None


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to show: the last look, and what happened since the one before."""

    look: Look
    per_second: Mapping[str, float] = field(default_factory=dict)
    times: Mapping[str, Times] = field(default_factory=dict)
    # Plain values; None where their source did not answer.
    gauges: Mapping[str, float | None] = field(default_factory=dict)
    batch_size: Mapping[str, float | None] = field(default_factory=dict)
    # The rates of the last looks, the newest last.
    history: Sequence[Mapping[str, float]] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same for a program."""
        look = self.look
        return {
            "pools": [
                {
                    "pool": pool.name,
                    "tier": pool.config.tier,
                    "currency_code": pool.config.currency_code,
                    "balance_micros": pool.balance_micros,
                    "cycle": pool.cycle,
                    "state": pb.Pool.State.Name(pool.state).removeprefix("STATE_"),
                }
                for pool in look.pools or ()
            ],
            "reachable": {
                "jackpot server": look.pools is not None,
                "jackpot metrics": look.jackpot is not None,
                "spin metrics": look.spin is not None,
                "cache": bool(look.info and look.info.cache.reachable),
            },
            "cache": look.info.cache.kind if look.info else None,
            "per_second": dict(self.per_second),
            "times": {
                path: {"per_second": times.per_second, "p50_ms": times.p50_ms, "p99_ms": times.p99_ms}
                for path, times in self.times.items()
            },
            "batch_size": dict(self.batch_size),
            "gauges": dict(self.gauges),
        }

"""What a change by people comes to, and what it starts from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jackpot_server.domain.facts import EventKind, Win
from jackpot_server.domain.ledger import Ledger
from jackpot_server.domain.plan import Configured
from jackpot_server.domain.pool import PoolConfig, PoolState


class Subject(NamedTuple):
    """A locked pool and the configurations that it goes by."""

    state: PoolState
    configured: Configured


@dataclass(slots=True)
class Change:
    """What a change comes to: pools as they are after it, what moved, and what the audit trail says of it."""

    needs_two: bool
    pools: list[PoolState] = field(default_factory=list)
    # A new version of the first pool's configuration.
    config: PoolConfig | None = None
    # What is told of a win, and the win after it.
    told: tuple[EventKind, Win] | None = None
    # Pools, as they were, whose running cycle ended without a win.
    ended: list[PoolState] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

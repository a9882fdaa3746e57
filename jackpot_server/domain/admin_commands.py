"""What people can ask of the administration, parsed and checked for shape."""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from jackpot_server.domain.pool import Lifecycle, PoolConfig, canonical_text


@dataclass(frozen=True, slots=True)
class CreatePool:
    """A new pool, ACTIVE or SHADOW, at its reset or at what it is taken over with."""

    pool_id: str
    config: PoolConfig
    opening_micros: int
    state: Lifecycle

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {
            "pool_id": self.pool_id,
            "config": json.loads(canonical_text(self.config)),
            "opening_micros": self.opening_micros,
            "state": self.state.name,
        }


@dataclass(frozen=True, slots=True)
class UpdatePool:
    """Another configuration: the fields named by `paths` (none: all), taken from `table`.

    The table is JSON, as `jackpots.toml` has it; with what the pool has it becomes a configuration.
    """

    pool_id: str
    table: str
    paths: tuple[str, ...]

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {"name": self.pool_id, "config": json.loads(self.table), "update_mask": list(self.paths)}


@dataclass(frozen=True, slots=True)
class PausePool:
    """It keeps its amount; spins go on without it."""

    pool_id: str

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {"name": self.pool_id}


@dataclass(frozen=True, slots=True)
class ResumePool:
    """It takes shares again; a shadow pool becomes active at its reset."""

    pool_id: str

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {"name": self.pool_id}


@dataclass(frozen=True, slots=True)
class ClosePool:
    """It ends; all that it holds moves to another pool of its currency."""

    pool_id: str
    transfer_to: str
    accept_worse_odds: bool

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {
            "name": self.pool_id,
            "transfer_to": self.transfer_to,
            "accept_worse_odds": self.accept_worse_odds,
        }


@dataclass(frozen=True, slots=True)
class CorrectPool:
    """Adds to its current amount, or takes from it."""

    pool_id: str
    amount_micros: int

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {"name": self.pool_id, "amount_micros": self.amount_micros}


@dataclass(frozen=True, slots=True)
class _NamesWin:
    """The win `pools/{pool_id}/wins/{spin_id}`."""

    pool_id: str
    spin_id: UUID

    @property
    def resource(self) -> str:
        """The win's name."""
        return f"pools/{self.pool_id}/wins/{self.spin_id}"

    @property
    def fields(self) -> dict[str, Any]:
        """Of the request, as a repeat compares them."""
        return {"name": self.resource}


class HoldWin(_NamesWin):
    """It is not to be credited for now."""


class ApproveWin(_NamesWin):
    """A held one is to be credited."""


class RejectWin(_NamesWin):
    """A held one is never to be credited; its money goes back to the pool."""


PoolChange: TypeAlias = CreatePool | UpdatePool | PausePool | ResumePool | ClosePool | CorrectPool
WinChange: TypeAlias = HoldWin | ApproveWin | RejectWin
What: TypeAlias = PoolChange | WinChange

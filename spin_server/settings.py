"""Settings of the spin server: SPIN_* variables, units in the names."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from service_kit.settings import Address, OwnerSettings, Port, ServerSettings

JackpotMode = Literal["async", "sync", "off"]


class MigrateSettings(OwnerSettings):
    """What `migrate` needs."""

    model_config = SettingsConfigDict(env_prefix="SPIN_")


class SpinSettings(ServerSettings):
    """What `serve` needs, besides OUTBOX_* for the jackpot server."""

    model_config = SettingsConfigDict(env_prefix="SPIN_")
    # Of `migrate`, which is usually given the same environment.
    also_known: ClassVar[frozenset[str]] = frozenset({"SPIN_MIGRATE_DSN"})

    listen: Address = Field(default="127.0.0.1:50051", description="host:port, or unix:path")
    metrics_port: Port = Field(default=9464, description="the port of the metrics' HTTP endpoint, 0 for none")
    games_file: Path = Field(description="the games.toml to serve")
    jackpot_mode: JackpotMode = Field(
        default="async",
        description="async; sync: an answer waits up to a second for its jackpot; off: no jackpots",
    )
    max_batch: int = Field(default=500, ge=1, le=5_000, description="commands in one transaction")
    max_waiting: int = Field(
        default=10_000, ge=1, le=1_000_000, description="commands that may wait; more are OVERLOADED"
    )
    max_jackpot_waiters: int = Field(
        default=10_000, ge=1, le=1_000_000, description="calls that may wait for a jackpot"
    )

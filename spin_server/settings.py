"""Settings of the spin server: SPIN_* variables, units in the names."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from service_kit.settings import Address, Port, PostgresDsn, ProcessSettings, ServerSettings

JackpotMode = Literal["async", "sync", "off"]


class MigrateSettings(ProcessSettings):
    """What `migrate` needs: how to reach the database as the one who may change its schema."""

    model_config = SettingsConfigDict(env_prefix="SPIN_")

    migrate_dsn: PostgresDsn | None = Field(
        default=None, description="the owner's DSN; SPIN_DATABASE_DSN if not set"
    )
    database_dsn: PostgresDsn | None = Field(
        default=None, description="postgresql://user:password@host:port/database"
    )

    @model_validator(mode="after")
    def _has_a_dsn(self) -> Self:
        if self.migrate_dsn is None and self.database_dsn is None:
            raise ValueError("set SPIN_MIGRATE_DSN or SPIN_DATABASE_DSN")
        return self

    @property
    def owner_dsn(self) -> str:
        """The DSN, password and all."""
        dsn = self.migrate_dsn or self.database_dsn
        assert dsn is not None
        return dsn.get_secret_value()


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

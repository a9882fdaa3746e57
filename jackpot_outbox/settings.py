"""Settings of the outbox: OUTBOX_* variables, units in the names."""

from typing import ClassVar, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from service_kit.settings import Address, DatabaseSettings, ProcessSettings


class OutboxSettings(ProcessSettings):
    """What dispatch, relay and win feed need; part of every process that serves an outbox."""

    model_config = SettingsConfigDict(env_prefix="OUTBOX_")
    also_known: ClassVar[frozenset[str]] = frozenset(
        f"OUTBOX_{field.upper()}" for field in DatabaseSettings.model_fields
    )

    jackpot_address: Address = Field(
        default="127.0.0.1:50052", description="the jackpot server, host:port or unix:path"
    )
    call_timeout_ms: int = Field(
        default=2_000, ge=50, le=60_000, description="the longest wait for the answer of one call"
    )
    dispatch_pause_ms: int = Field(
        default=5,
        ge=0,
        le=1_000,
        description="the pause after a call of up to 20 contributions; up to 4 times as long after more",
    )
    max_batch: int = Field(default=500, ge=1, le=500, description="contributions in one call")
    max_held: int = Field(
        default=5_000,
        ge=1,
        le=1_000_000,
        description="rows in memory, waiting, sent or being booked; more are left to the relay",
    )
    acknowledgements_in_flight: int = Field(
        default=16,
        ge=1,
        le=1_000,
        description="voids and acknowledgements sent or being booked at the same time",
    )
    lease_ms: int = Field(
        default=5_000, ge=600, le=600_000, description="how long a row that a relay took is its own"
    )
    poll_ms: int = Field(
        default=200,
        ge=10,
        le=10_000,
        description="how often to look for due rows when nothing wakes the relay",
    )
    cursor_lease_ms: int = Field(
        default=5_000,
        ge=1_000,
        le=600_000,
        description="how long an operator's win feed is one follower's own; renewed three times as often",
    )
    followed_operators: int = Field(
        default=16,
        ge=1,
        le=1_000,
        description="operators whose win feed is waited on; the others are asked in turn",
    )
    win_page_size: int = Field(default=500, ge=1, le=1_000, description="win events in one answer")
    late_after_s: float = Field(
        default=60.0, gt=0, description="the age of an open row from which on it is an alarm"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.lease_ms <= self.call_timeout_ms:
            raise ValueError("OUTBOX_LEASE_MS must be longer than OUTBOX_CALL_TIMEOUT_MS")
        if self.max_held < self.max_batch:
            raise ValueError("OUTBOX_MAX_HELD must not be smaller than OUTBOX_MAX_BATCH")
        return self


class SidecarSettings(OutboxSettings, DatabaseSettings):
    """Of `python -m jackpot_outbox`: also the wallet's database, OUTBOX_DATABASE_DSN."""

    # Said again: the last base's would win.
    model_config = SettingsConfigDict(env_prefix="OUTBOX_")

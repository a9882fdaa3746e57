"""Settings of the outbox: OUTBOX_* variables, units in the names."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class OutboxSettings(BaseSettings):
    """What dispatch, relay and win feed need; part of every process that serves an outbox."""

    model_config = SettingsConfigDict(env_prefix="OUTBOX_", extra="ignore")

    # host:port or unix:path of the jackpot server.
    jackpot_address: str = "127.0.0.1:50052"
    # Longest wait for the answer of one call; bounds a hung server.
    call_timeout_ms: int = Field(default=2_000, ge=50, le=60_000)
    # Pause between two calls of contributions; nobody waits for them, and the spins gain.
    dispatch_pause_ms: int = Field(default=5, ge=0, le=1_000)
    # Contributions in one call; the contract's limit is 500.
    max_batch: int = Field(default=500, ge=1, le=500)
    # Rows in memory, waiting, sent or being booked; what does not fit is left to the relay.
    max_held: int = Field(default=5_000, ge=1)
    acknowledgements_in_flight: int = Field(default=16, ge=1, le=1_000)
    # How long a row that a relay took is its own.
    lease_ms: int = Field(default=5_000, ge=200, le=600_000)
    # How often the relay looks for due rows when nothing wakes it.
    poll_ms: int = Field(default=200, ge=10, le=10_000)
    # How long an operator's win feed is one follower's own; renewed three times as often.
    cursor_lease_ms: int = Field(default=5_000, ge=500, le=600_000)
    # Operators whose win feed is waited on at the same time; the others are asked in turn.
    followed_operators: int = Field(default=16, ge=1, le=1_000)
    win_page_size: int = Field(default=500, ge=1, le=1_000)

    @model_validator(mode="after")
    def _lease_covers_a_call(self) -> Self:
        if self.lease_ms <= self.call_timeout_ms:
            raise ValueError("OUTBOX_LEASE_MS must be longer than OUTBOX_CALL_TIMEOUT_MS")
        return self

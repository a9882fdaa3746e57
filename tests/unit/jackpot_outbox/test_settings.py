"""Settings that would let two senders have one row are refused."""

import pytest
from pydantic import ValidationError

from jackpot_outbox.settings import OutboxSettings


def test_a_lease_must_outlast_a_call() -> None:
    with pytest.raises(ValidationError, match="OUTBOX_LEASE_MS"):
        OutboxSettings(lease_ms=2_000, call_timeout_ms=2_000)


def test_what_is_held_must_have_room_for_a_batch() -> None:
    with pytest.raises(ValidationError, match="OUTBOX_MAX_HELD"):
        OutboxSettings(max_held=99, max_batch=100)


def test_a_batch_is_no_larger_than_the_contract_allows() -> None:
    with pytest.raises(ValidationError):
        OutboxSettings(max_batch=501)

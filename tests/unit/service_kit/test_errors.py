"""What a caller sees of an error, and what not."""

import pytest
from google.rpc.code_pb2 import Code  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import (  # type: ignore[import-untyped]
    BadRequest,
    ErrorInfo,
    RetryInfo,
)
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc import StatusCode

from protos.jackpot.v1 import jackpot_pb2
from protos.spin.v1 import spin_pb2
from service_kit import errors
from service_kit.errors import Failure, FieldViolation, Refusal, ServiceError, invalid_fields, to_status

SECRET = "postgresql://spin_server:canary@db/spins"


def unpack(status: Status) -> list[ErrorInfo | BadRequest | RetryInfo]:
    found = []
    for detail in status.details:
        for kind in (ErrorInfo, BadRequest, RetryInfo):
            if detail.Is(kind.DESCRIPTOR):
                message = kind()
                detail.Unpack(message)
                found.append(message)
    return found


def test_a_refusal_shows_its_reason_domain_and_metadata() -> None:
    refusal = Refusal(
        StatusCode.ALREADY_EXISTS, "SPIN_ID_REUSED", "Other fields.", metadata={"fields": "wager,round_id"}
    )
    status = to_status(refusal, "spin.v1")
    assert (status.code, status.message) == (Code.ALREADY_EXISTS, "Other fields.")
    (info,) = unpack(status)
    assert (info.reason, info.domain) == ("SPIN_ID_REUSED", "spin.v1")
    assert dict(info.metadata) == {"fields": "wager,round_id"}


def test_invalid_fields_show_every_violation_in_order() -> None:
    violations = [
        FieldViolation("wager.amount_minor", "is negative"),
        FieldViolation("spin_id", "is no UUID"),
        FieldViolation("spin_id", "is empty"),
    ]
    refusal = invalid_fields(violations)
    info, bad_request = unpack(to_status(refusal, "spin.v1"))
    assert info.reason == "INVALID_FIELDS"
    assert [(v.field, v.description) for v in bad_request.field_violations] == [
        (v.field, v.description) for v in violations
    ]
    assert refusal.message == "Invalid: wager.amount_minor, spin_id."


def test_a_failure_shows_when_to_repeat() -> None:
    status = to_status(Failure(StatusCode.UNAVAILABLE, "DRAINING", "…", retry_after_s=1.5), "spin.v1")
    _, retry = unpack(status)
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (1, 500_000_000)


def test_a_failure_without_a_known_delay_shows_none() -> None:
    assert len(unpack(to_status(Failure(StatusCode.UNAVAILABLE, "DRAINING", "…"), "spin.v1"))) == 1


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), KeyError(SECRET), BaseExceptionGroup(SECRET, [OSError(SECRET)])]
)
def test_any_other_exception_shows_a_fixed_text(error: BaseException) -> None:
    status = to_status(error, "spin.v1")
    assert status.code == Code.INTERNAL
    assert status.message == errors.INTERNAL_ERROR_MESSAGE
    (info,) = unpack(status)
    assert info.reason == "INTERNAL_ERROR"
    assert "canary" not in str(status)


@pytest.mark.parametrize("contract", [jackpot_pb2, spin_pb2], ids=["jackpot.v1", "spin.v1"])
@pytest.mark.parametrize(
    "error",
    [
        invalid_fields([]),
        errors.undecodable(),
        errors.not_implemented(),
        errors.overloaded(),
        errors.starting(),
        errors.draining(),
        errors.database_unavailable(),
        errors.outcome_unknown(),
        errors.internal_error(),
    ],
    ids=lambda error: error.reason if isinstance(error, ServiceError) else None,
)
def test_every_reason_is_one_of_the_contract(contract: object, error: ServiceError) -> None:
    reasons: list[str] = contract.ErrorReason.keys()  # type: ignore[attr-defined]
    assert f"ERROR_REASON_{error.reason}" in reasons


def test_what_may_be_repeated_is_a_failure_and_what_not_is_a_refusal() -> None:
    refused: list[Refusal] = [invalid_fields([]), errors.undecodable(), errors.not_implemented()]
    failed: list[Failure] = [
        errors.overloaded(),
        errors.draining(),
        errors.database_unavailable(),
        errors.outcome_unknown(),
    ]
    assert all(error.retry_after_s is None for error in refused)
    assert all(error.retry_after_s for error in failed)

"""What a caller may learn of an error: a status, a reason, a written message. Nothing else reaches a client.

Two kinds leave a handler on purpose. A `Refusal` is the caller's fault and final: the same call
is refused again. A `Failure` is the world's: the same call may be repeated. Everything else is a
bug of ours and is shown as INTERNAL_ERROR with a fixed text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

# When a caller should try again if nothing better is known.
RETRY_BUSY_S = 0.1
RETRY_UNAVAILABLE_S = 0.5

INTERNAL_ERROR_MESSAGE = "The server made a mistake. It has been logged; the call may be repeated."


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One thing wrong with one field. `field` is a path in the request, e.g. `wager.amount_minor`."""

    field: str
    description: str


class ServiceError(Exception):
    """An error that a caller is meant to see: its fields are public, its `__cause__` is not."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code.name} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = metadata if metadata is not None else {}
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s


class Refusal(ServiceError):
    """The caller's fault, and final: nothing was changed, the same call is refused again."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(code, reason, message, metadata=metadata, violations=violations)


class Failure(ServiceError):
    """The world's fault: the same call may be repeated, after `retry_after_s` seconds if that is known."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, reason, message, retry_after_s=retry_after_s)


class StartRefused(Exception):
    """The process must not serve as it is set up. The text tells the operator what to change, no secret."""


def invalid_fields(violations: Sequence[FieldViolation]) -> Refusal:
    """INVALID_ARGUMENT with every violation that was found."""
    fields = ", ".join(dict.fromkeys(violation.field for violation in violations))
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELDS",
        f"Invalid: {fields}.",
        violations=violations,
    )


def undecodable() -> Refusal:
    """INVALID_ARGUMENT for bytes that are not the method's request message."""
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNDECODABLE",
        "The bytes of the request are not the message that this method takes.",
    )


def not_implemented() -> Refusal:
    """UNIMPLEMENTED for a method of the contract that this server does not have."""
    return Refusal(
        grpc.StatusCode.UNIMPLEMENTED,
        "METHOD_NOT_IMPLEMENTED",
        "This server does not implement the method.",
    )


def overloaded() -> Failure:
    """RESOURCE_EXHAUSTED: as much is waiting as may wait; nothing was done."""
    return Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "OVERLOADED",
        "Too many requests are waiting. Nothing was done; repeat the call.",
        retry_after_s=RETRY_BUSY_S,
    )


def starting() -> Failure:
    """UNAVAILABLE: the server is not ready yet, which is to say that its database is not."""
    return Failure(
        grpc.StatusCode.UNAVAILABLE,
        "DATABASE_UNAVAILABLE",
        "The server is starting. Nothing was done; repeat the call.",
        retry_after_s=RETRY_UNAVAILABLE_S,
    )


def draining() -> Failure:
    """UNAVAILABLE: the server is shutting down; nothing was done, another replica may answer."""
    return Failure(
        grpc.StatusCode.UNAVAILABLE,
        "DRAINING",
        "The server is shutting down. Nothing was done; repeat the call.",
        retry_after_s=RETRY_BUSY_S,
    )


def database_unavailable() -> Failure:
    """UNAVAILABLE: the database does not answer."""
    return Failure(
        grpc.StatusCode.UNAVAILABLE,
        "DATABASE_UNAVAILABLE",
        "The database does not answer. Repeat the call.",
        retry_after_s=RETRY_UNAVAILABLE_S,
    )


def outcome_unknown() -> Failure:
    """UNAVAILABLE: the call may or may not have been committed; repeating it with the same id is safe."""
    return Failure(
        grpc.StatusCode.UNAVAILABLE,
        "OUTCOME_UNKNOWN",
        "Whether the call took effect is not known. Repeat it with the same id: that is safe, and tells.",
        retry_after_s=RETRY_UNAVAILABLE_S,
    )


def internal_error() -> Failure:
    """INTERNAL: what a caller sees of a bug of ours."""
    return Failure(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR", INTERNAL_ERROR_MESSAGE)


def to_status(error: BaseException, domain: str) -> Status:
    """The status that a caller sees: ErrorInfo always; BadRequest with every violation; RetryInfo if known.

    Of anything but a `ServiceError` it shows INTERNAL_ERROR and not one word of the exception.
    """
    shown = error if isinstance(error, ServiceError) else internal_error()
    status = Status(code=shown.code.value[0], message=shown.message)
    _pack(status, ErrorInfo(reason=shown.reason, domain=domain, metadata=shown.metadata))
    if shown.violations:
        _pack(
            status,
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=violation.field, description=violation.description)
                    for violation in shown.violations
                ]
            ),
        )
    if shown.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(round(shown.retry_after_s * 1e9))
        _pack(status, RetryInfo(retry_delay=delay))
    return status


def _pack(status: Status, detail: ErrorInfo | BadRequest | RetryInfo) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)

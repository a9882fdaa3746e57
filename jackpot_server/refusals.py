"""What the servicers refuse, in words for the caller."""

from uuid import UUID

import grpc

from service_kit.errors import Failure, Refusal

STREAM_RETRY_S = 1.0


def pool_not_found(pool_id: str) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, "POOL_NOT_FOUND", f"There is no pools/{pool_id}.")


def contribution_not_found(spin_id: UUID) -> Refusal:
    return Refusal(
        grpc.StatusCode.NOT_FOUND, "CONTRIBUTION_NOT_FOUND", f"There is no contributions/{spin_id}."
    )


def win_not_found(pool_id: str, spin_id: UUID) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, "WIN_NOT_FOUND", f"There is no pools/{pool_id}/wins/{spin_id}.")


def draw_not_found(pool_id: str, spin_id: UUID) -> Refusal:
    return Refusal(
        grpc.StatusCode.NOT_FOUND, "DRAW_NOT_FOUND", f"There is no pools/{pool_id}/draws/{spin_id}."
    )


def too_many_streams() -> Failure:
    """As many watch as may watch; another replica may have room."""
    return Failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS",
        "Too many streams are open. Repeat the call later.",
        retry_after_s=STREAM_RETRY_S,
    )

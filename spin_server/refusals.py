"""What a refused command answers its caller with."""

from typing import Final

from grpc import StatusCode

from service_kit.errors import Refusal
from spin_server.domain.facts import Reason, Refused

_STATUS: Final = {
    Reason.SPIN_ID_REUSED: StatusCode.ALREADY_EXISTS,
    Reason.REQUEST_ID_REUSED: StatusCode.ALREADY_EXISTS,
    Reason.WALLET_EXISTS: StatusCode.ALREADY_EXISTS,
    Reason.WALLET_NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.GAME_NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.SPIN_NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.ROLE_REQUIRED: StatusCode.PERMISSION_DENIED,
    Reason.WALLET_MISMATCH: StatusCode.FAILED_PRECONDITION,
    Reason.CURRENCY_MISMATCH: StatusCode.FAILED_PRECONDITION,
    Reason.GAME_DISABLED: StatusCode.FAILED_PRECONDITION,
    Reason.WAGER_OUT_OF_RANGE: StatusCode.FAILED_PRECONDITION,
    Reason.SPIN_VOIDED: StatusCode.FAILED_PRECONDITION,
    Reason.INSUFFICIENT_FUNDS: StatusCode.FAILED_PRECONDITION,
    Reason.BALANCE_LIMIT_EXCEEDED: StatusCode.FAILED_PRECONDITION,
}


def refusal(refused: Refused) -> Refusal:
    """The status of a refused command; the fields of a reused id are in the metadata, separated by commas."""
    metadata = {"fields": ",".join(refused.fields)} if refused.fields else None
    return Refusal(_STATUS[refused.reason], refused.reason.name, refused.message, metadata=metadata)

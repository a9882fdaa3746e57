"""Who calls the administration. Until callers prove who they are, only the demo takes their word for it."""

from typing import Any, Final

import grpc
import grpc.aio

from service_kit.checks import is_opaque_id
from service_kit.errors import Refusal

DEMO: Final = "demo"
_HEADER: Final = "x-actor"


class Identities:
    """Reads a caller's identity; `environment` is the server's."""

    def __init__(self, environment: str) -> None:
        self._takes_word = environment == DEMO

    def actor(self, context: "grpc.aio.ServicerContext[Any, Any]") -> str:
        """The caller's name. UNAUTHENTICATED, NO_IDENTITY if there is none that can be believed."""
        if not self._takes_word:
            raise _no_identity("Callers cannot prove who they are here: the administration is closed.")
        for key, value in context.invocation_metadata() or ():
            if key == _HEADER and isinstance(value, str) and is_opaque_id(value):
                return value
        raise _no_identity(f"Say who you are in the metadata {_HEADER}: 1 to 64 printable characters.")


def _no_identity(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, "NO_IDENTITY", message)

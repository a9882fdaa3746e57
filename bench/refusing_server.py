"""A gRPC server that answers every call of every method with an error, each time the next one of a few.

Prints the port that it took.
"""

import asyncio
import itertools
from typing import Any

import grpc
import grpc.aio

ERRORS = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)


class RefuseEverything(grpc.GenericRpcHandler):
    """Knows every method by its path alone; requests stay bytes."""

    def __init__(self) -> None:
        self._errors = itertools.cycle(ERRORS)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The one handler of all methods."""
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    async def _refuse(self, request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        await context.abort(next(self._errors), "refused by the benchmark")


async def main() -> None:
    """Serves until it is killed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((RefuseEverything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())

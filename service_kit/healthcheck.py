"""Asks servers for their health, as a command: `python -m service_kit.healthcheck ADDRESS…`.

Ends with status 0 as soon as one of the addresses says SERVING, with 1 if none does.
"""

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2

from service_kit.address import check_address

ANSWER_WITHIN_S = 2.0

SERVING, NOT_SERVING, WRONG_USE = 0, 1, 2


def health(address: str) -> str:
    """What the health service at `address` says of the whole server, or the status of a call that failed.

    Any address that a server can listen on will do, the unspecified one (0.0.0.0) included.
    """
    with grpc.insecure_channel(address) as channel:
        try:
            answer = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                health_pb2.HealthCheckRequest.SerializeToString,
                health_pb2.HealthCheckResponse.FromString,
            )(health_pb2.HealthCheckRequest(), timeout=ANSWER_WITHIN_S)
        except grpc.RpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def main(addresses: Sequence[str]) -> int:
    """Asks one address after the other and says what each answered; returns the exit status."""
    try:
        for address in addresses:
            check_address(address)
    except ValueError as error:
        sys.stderr.write(f"{address}: {error}\n")
        return WRONG_USE
    if not addresses:
        sys.stderr.write("usage: python -m service_kit.healthcheck ADDRESS…\n")
        return WRONG_USE
    for address in addresses:
        answer = health(address)
        sys.stdout.write(f"{address} {answer}\n")
        if answer == "SERVING":
            return SERVING
    return NOT_SERVING


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

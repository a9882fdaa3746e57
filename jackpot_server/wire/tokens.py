"""The page tokens of this server's lists: what position each holds, and how it is packed."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from jackpot_server.queries import ContributionPosition, WinPosition
from service_kit.page_tokens import BadToken as BadToken
from service_kit.page_tokens import seal, unseal

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# Microseconds since 1970, the spin's id; of a win also the pool's key.
_CONTRIBUTION: Final = struct.Struct(">q16s")
_WIN: Final = struct.Struct(">q16si")
_EVENT: Final = struct.Struct(">q")


def contribution_token(position: ContributionPosition, *list_fields: object) -> str:
    """`list_fields`: what the request says besides page size and token; it is good for that list only."""
    return seal(_CONTRIBUTION.pack(_micros(position.record_time), position.spin_id.bytes), *list_fields)


def contribution_position(token: str, *list_fields: object) -> ContributionPosition:
    try:
        micros, spin = _CONTRIBUTION.unpack(unseal(token, *list_fields))
        return ContributionPosition(_moment(micros), UUID(bytes=spin))
    except (struct.error, OverflowError) as error:
        raise BadToken from error


def win_token(position: WinPosition, *list_fields: object) -> str:
    return seal(
        _WIN.pack(_micros(position.decide_time), position.spin_id.bytes, position.pool_key), *list_fields
    )


def win_position(token: str, *list_fields: object) -> WinPosition:
    try:
        micros, spin, pool_key = _WIN.unpack(unseal(token, *list_fields))
        return WinPosition(_moment(micros), UUID(bytes=spin), pool_key)
    except (struct.error, OverflowError) as error:
        raise BadToken from error


def pool_token(pool_id: str, *list_fields: object) -> str:
    return seal(pool_id.encode("ascii"), *list_fields)


def pool_position(token: str, *list_fields: object) -> str:
    try:
        return unseal(token, *list_fields).decode("ascii")
    except UnicodeDecodeError as error:
        raise BadToken from error


def event_token(number: int, *list_fields: object) -> str:
    return seal(_EVENT.pack(number), *list_fields)


def event_position(token: str, *list_fields: object) -> int:
    try:
        number: int = _EVENT.unpack(unseal(token, *list_fields))[0]
    except struct.error as error:
        raise BadToken from error
    return number


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND

"""The page tokens of this server's lists: what position each holds, and how it is packed."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from service_kit.page_tokens import BadToken as BadToken
from service_kit.page_tokens import seal, unseal
from spin_server.queries import SpinPosition, SpinsQuery

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# Microseconds since 1970, the spin's id.
_SPIN: Final = struct.Struct(">q16s")
_ENTRY: Final = struct.Struct(">q")


def spin_token(position: SpinPosition, query: SpinsQuery) -> str:
    """The token for the page that follows `position` in the list of `query`."""
    packed = _SPIN.pack((position.settle_time - _EPOCH) // _MICROSECOND, position.spin_id.bytes)
    return seal(packed, *_fields(query))


def spin_position(token: str, *list_fields: object) -> SpinPosition:
    """The position in a token; `list_fields` as `spin_token` takes them from its query."""
    try:
        micros, spin = _SPIN.unpack(unseal(token, *list_fields))
        return SpinPosition(_EPOCH + micros * _MICROSECOND, UUID(bytes=spin))
    except (struct.error, OverflowError) as error:
        raise BadToken from error


def entry_token(entry_number: int, wallet_id: str) -> str:
    """The token for a wallet's entries below `entry_number`."""
    return seal(_ENTRY.pack(entry_number), wallet_id)


def entry_number(token: str, wallet_id: str) -> int:
    """The entry number in a token."""
    try:
        return int(_ENTRY.unpack(unseal(token, wallet_id))[0])
    except struct.error as error:
        raise BadToken from error


def game_token(game_id: str) -> str:
    """The token for the games after `game_id`."""
    return seal(game_id.encode("ascii"))


def game_id(token: str) -> str:
    """The game id in a token."""
    try:
        return unseal(token).decode("ascii")
    except UnicodeDecodeError as error:
        raise BadToken from error


def _fields(query: SpinsQuery) -> tuple[object, ...]:
    return (query.operator_id, query.user_id, query.wallet_id, query.game_id, query.start, query.end)

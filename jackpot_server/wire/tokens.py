"""Page tokens: opaque to callers, a position and a mark of the list that it belongs to.

They hold nothing that the page did not show, and a forged one leads nowhere that the request could not.
"""

import binascii
import hashlib
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from jackpot_server.queries import ContributionPosition, WinPosition

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MARK_SIZE: Final = 8
# Microseconds since 1970, the spin's id; of a win also the pool's key.
_CONTRIBUTION: Final = struct.Struct(">q16s")
_WIN: Final = struct.Struct(">q16si")


class BadToken(ValueError):
    """The token is not one that this list gave."""


def contribution_token(position: ContributionPosition, *list_fields: object) -> str:
    """`list_fields`: what the request says besides page size and token; it is good for that list only."""
    return _seal(_CONTRIBUTION.pack(_micros(position.record_time), position.spin_id.bytes), list_fields)


def contribution_position(token: str, *list_fields: object) -> ContributionPosition:
    try:
        micros, spin = _CONTRIBUTION.unpack(_open(token, list_fields))
        return ContributionPosition(_moment(micros), UUID(bytes=spin))
    except (struct.error, OverflowError) as error:
        raise BadToken from error


def win_token(position: WinPosition, *list_fields: object) -> str:
    return _seal(
        _WIN.pack(_micros(position.decide_time), position.spin_id.bytes, position.pool_key), list_fields
    )


def win_position(token: str, *list_fields: object) -> WinPosition:
    try:
        micros, spin, pool_key = _WIN.unpack(_open(token, list_fields))
        return WinPosition(_moment(micros), UUID(bytes=spin), pool_key)
    except (struct.error, OverflowError) as error:
        raise BadToken from error


def pool_token(pool_id: str, *list_fields: object) -> str:
    return _seal(pool_id.encode("ascii"), list_fields)


def pool_position(token: str, *list_fields: object) -> str:
    try:
        return _open(token, list_fields).decode("ascii")
    except UnicodeDecodeError as error:
        raise BadToken from error


def _seal(position: bytes, list_fields: tuple[object, ...]) -> str:
    return urlsafe_b64encode(_mark(list_fields) + position).rstrip(b"=").decode("ascii")


def _open(token: str, list_fields: tuple[object, ...]) -> bytes:
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadToken from error
    if raw[:_MARK_SIZE] != _mark(list_fields):
        raise BadToken
    return raw[_MARK_SIZE:]


def _mark(list_fields: tuple[object, ...]) -> bytes:
    return hashlib.sha256(repr(list_fields).encode()).digest()[:_MARK_SIZE]


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND

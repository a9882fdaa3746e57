"""Page tokens: opaque to callers, a position and a mark of the list that it belongs to.

They hold nothing that the page did not show, and a forged one leads nowhere that the request could not.
"""

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

_MARK_SIZE: Final = 8


class BadToken(ValueError):
    """The token is not one that this list gave."""


def seal(position: bytes, *list_fields: object) -> str:
    """The token of a position. `list_fields`: what the request says besides page size and token."""
    return urlsafe_b64encode(_mark(list_fields) + position).rstrip(b"=").decode("ascii")


def unseal(token: str, *list_fields: object) -> bytes:
    """The position in a token of the same list with the same fields; BadToken for any other text."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise BadToken from error
    if raw[:_MARK_SIZE] != _mark(list_fields):
        raise BadToken
    return raw[_MARK_SIZE:]


def _mark(list_fields: tuple[object, ...]) -> bytes:
    return hashlib.sha256(repr(list_fields).encode()).digest()[:_MARK_SIZE]

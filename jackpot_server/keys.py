"""The root key: the secret outside the database from which every cycle's seed follows (PR-13)."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jackpot_server.domain.draw import cycle_seed

MIN_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class RootKey:
    """`key_id` is public and stored with each commitment; `secret` never leaves the process."""

    key_id: str
    secret: bytes = field(repr=False)

    def seed(self, pool_id: str, cycle: int) -> bytes:
        """The seed of one cycle of one pool: as secret as the key while the cycle runs."""
        return cycle_seed(self.secret, pool_id, cycle)


def parse_root_key(key_id: str, text: str) -> RootKey:
    """The key from hexadecimal or else base64 text. ValueError (without the text) if it is none or short."""
    text = text.strip()
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        try:
            secret = base64.b64decode(text, validate=True)
        except ValueError:
            raise ValueError("the root key is neither hexadecimal nor base64") from None
    if len(secret) < MIN_KEY_BYTES:
        raise ValueError(f"the root key has {len(secret)} bytes: at least {MIN_KEY_BYTES} are needed")
    return RootKey(key_id, secret)


def read_root_key(key_id: str, file: Path) -> RootKey:
    """The key from a file. ValueError if the file cannot be read or is not a key."""
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the root key's file cannot be read: {type(error).__name__}") from None
    return parse_root_key(key_id, text)

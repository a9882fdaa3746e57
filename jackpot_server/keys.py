"""Root keys: the secrets outside the database from which every cycle's seed follows (PR-13).

A key comes from a setting, a file or a command. One is the newest: it makes the seeds of cycles that are
committed from now on. Older ones stay until the cycles that were committed with them have closed.
"""

import base64
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jackpot_server.domain.draw import cycle_seed

MIN_KEY_BYTES: Final = 32
COMMAND_LIMIT_S: Final = 30
# Between the older keys of one setting.
_SEPARATOR: Final = ";"


@dataclass(frozen=True, slots=True)
class RootKey:
    """`key_id` is public and stored with each commitment; `secret` never leaves the process."""

    key_id: str
    secret: bytes = field(repr=False)

    def seed(self, pool_id: str, cycle: int) -> bytes:
        """The seed of one cycle of one pool: as secret as the key while the cycle runs."""
        return cycle_seed(self.secret, pool_id, cycle)


class RootKeys:
    """The keys of one process: `newest` commits to seeds, all make the seeds they once committed to."""

    def __init__(self, newest: RootKey, *older: RootKey) -> None:
        """ValueError if two have the same id."""
        self.newest = newest
        self._by_id = {key.key_id: key for key in (newest, *older)}
        if len(self._by_id) <= len(older):
            raise ValueError("two root keys have the same id")

    def __iter__(self) -> Iterator[RootKey]:
        """All of them, the newest first."""
        return iter(self._by_id.values())

    def get(self, key_id: str) -> RootKey | None:
        """The key of that name, if it is here."""
        return self._by_id.get(key_id)


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


def root_key_of_command(key_id: str, command: str) -> RootKey:
    """The key that a command prints, run without a shell. ValueError, without its output, if it fails."""
    try:
        words = shlex.split(command)
        if not words:
            raise ValueError
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT_S)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"the root key's command cannot be run: {type(error).__name__}") from None
    if ran.returncode != 0:
        raise ValueError(f"the root key's command ended with status {ran.returncode}")
    return parse_root_key(key_id, ran.stdout.decode("ascii", errors="replace"))


def older_root_keys(text: str) -> list[RootKey]:
    """The keys of `ID=file:PATH; ID=command:WORDS; ID=KEY`. ValueError, without any key, if one is none."""
    keys = []
    for entry in filter(None, map(str.strip, text.split(_SEPARATOR))):
        key_id, _, source = entry.partition("=")
        if not key_id or not source:
            raise ValueError("an older root key is written as ID=file:PATH, ID=command:WORDS or ID=KEY")
        kind, _, rest = source.partition(":")
        if kind == "file":
            keys.append(read_root_key(key_id, Path(rest)))
        elif kind == "command":
            keys.append(root_key_of_command(key_id, rest))
        else:
            keys.append(parse_root_key(key_id, source))
    return keys

"""Secrets of a stack: made once, kept beside its data, readable by its user only."""

import json
import os
import secrets
from pathlib import Path

NAMES = ("superuser", "spins_owner", "jackpots_owner", "spin_server", "jackpot_server")
ROOT_KEY_BYTES = 32


def load_or_create(folder: Path) -> dict[str, str]:
    """One password per name of NAMES."""
    path = folder / "secrets.json"
    if not path.exists():
        _write(path, json.dumps({name: secrets.token_hex(16) for name in NAMES}, indent=2))
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded


def root_key_file(folder: Path) -> Path:
    """The file with the root key of the jackpots' seeds, in hex."""
    path = folder / "root.key"
    if not path.exists():
        _write(path, secrets.token_hex(ROOT_KEY_BYTES) + "\n")
    return path


def _write(path: Path, text: str) -> None:
    making = path.with_suffix(".making")
    making.unlink(missing_ok=True)
    descriptor = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    making.rename(path)

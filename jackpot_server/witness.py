"""Audit heads that another database keeps of this one's answers, and whether it still knows them (PR-13)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import asyncpg

from jackpot_server.domain.evidence import AuditHead
from service_kit.errors import StartRefused

READ_RECORD: Final = "SELECT sha256 FROM batches WHERE chain = $1 AND sequence = $2"


def read_heads(text: str) -> list[AuditHead]:
    """Heads from JSON lines: `{"chain": 1, "sequence": 7, "sha256": "…"}`. ValueError names a wrong line."""
    heads = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            head = json.loads(line)
            heads.append(AuditHead(int(head["chain"]), int(head["sequence"]), bytes.fromhex(head["sha256"])))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"line {number} is not an audit head") from None
    return heads


def read_heads_of(file: Path) -> list[AuditHead]:
    """Heads from a file. StartRefused if it cannot be read."""
    try:
        return read_heads(file.read_text("ascii"))
    except (OSError, ValueError) as error:
        raise StartRefused(f"The witness {file.name} cannot be read: {error}.") from None


async def assert_remembered(connection: asyncpg.Connection, heads: Iterable[AuditHead]) -> None:
    """Raises StartRefused if this database lacks the newest record of a chain that was witnessed.

    It was restored from a backup older than answers that were given: cycles that are open in it were closed,
    and their seeds published.
    """
    newest: dict[int, AuditHead] = {}
    for head in heads:
        known = newest.get(head.chain)
        if known is None or head.sequence > known.sequence:
            newest[head.chain] = head
    for head in newest.values():
        sha256 = await connection.fetchval(READ_RECORD, head.chain, head.sequence)
        if sha256 != head.sha256:
            has = "does not have it" if sha256 is None else "has another one in its place"
            raise StartRefused(
                f"Another database was answered with record {head.sequence} of audit chain {head.chain}; "
                f"this one {has}. If it was restored: import what was answered since, run "
                "`python -m jackpot_server new-cycles`, then take new heads for the witness."
            )

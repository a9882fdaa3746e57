"""How findings name rows."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from jackpot_server.domain.evidence import Audited

CHECK: Final = "every row belongs to a recorded batch"

Values: TypeAlias = Sequence[Any]


def row_name(table: Audited, values: Values) -> str:
    """What tells a row from the others: its first columns."""
    return ", ".join(f"{name} {value}" for name, value in zip(table.columns[:2], values, strict=False))

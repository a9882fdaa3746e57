"""What the resource names of jackpot.v1 may hold; every other field is checked as at every server."""

import re
from typing import Final
from uuid import UUID

from service_kit import checks
from service_kit.checks import NO_UUID, UUID_PATTERN, parse_uuid

# A wallet's entry may be named by the wallet's id and a number.
LONGEST_ENTRY_ID: Final = 128

_POOL: Final = "[a-z][a-z0-9-]{1,31}"
_pool_name = re.compile(f"pools/({_POOL})").fullmatch
_contribution_name = re.compile(f"contributions/({UUID_PATTERN})").fullmatch
_win_name = re.compile(f"pools/({_POOL})/wins/({UUID_PATTERN})").fullmatch
_draw_name = re.compile(f"pools/({_POOL})/draws/({UUID_PATTERN})").fullmatch


class Checks(checks.Checks):
    """The checks of a request, with those of the names of pools, contributions, wins and draws."""

    def pool_name(self, field: str, name: str, *, optional: bool = False) -> str:
        """The bare id in `pools/{pool}`."""
        match = _pool_name(name)
        if match:
            return match[1]
        if name or not optional:
            self.wrong(field, "must be pools/{pool}: a letter, then 1 to 31 of a-z, 0-9 and '-'")
        return ""

    def contribution_name(self, field: str, name: str) -> UUID:
        """The spin's id in `contributions/{spin_id}`."""
        match = _contribution_name(name)
        if match:
            return parse_uuid(match[1])
        self.wrong(field, "must be contributions/{spin_id}")
        return NO_UUID

    def win_name(self, field: str, name: str) -> tuple[str, UUID]:
        """The pool's id and the spin's in `pools/{pool}/wins/{spin_id}`."""
        match = _win_name(name)
        if match:
            return match[1], parse_uuid(match[2])
        self.wrong(field, "must be pools/{pool}/wins/{spin_id}")
        return "", NO_UUID

    def draw_name(self, field: str, name: str) -> tuple[str, UUID]:
        """The pool's id and the spin's in `pools/{pool}/draws/{spin_id}`."""
        match = _draw_name(name)
        if match:
            return match[1], parse_uuid(match[2])
        self.wrong(field, "must be pools/{pool}/draws/{spin_id}")
        return "", NO_UUID

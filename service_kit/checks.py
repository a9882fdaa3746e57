"""What a field of a request may hold, the same at every server. Every violation is noted, not the first."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as FastUUID
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from service_kit.errors import FieldViolation, invalid_fields
from service_kit.money import CURRENCIES, MAX_AMOUNT_MINOR

LONGEST_ID: Final = 64
LONGEST_ROUND_ID: Final = 128
LONGEST_TEXT: Final = 256
LONGEST_SEED_BYTES: Final = 64
MAX_TIERS: Final = 16
DEFAULT_PAGE: Final = 100
MAX_PAGE: Final = 1000

UUID_PATTERN: Final = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
is_uuid = re.compile(UUID_PATTERN).fullmatch
is_country = re.compile(r"[A-Z]{2}").fullmatch
is_opaque_id = re.compile(f"[!-~]{{1,{LONGEST_ID}}}").fullmatch
_is_visible = re.compile(r"[!-~]+").fullmatch
_is_tier = re.compile(r"[!-+\--~]{1,64}").fullmatch
_LINE_BREAKS: Final = str.maketrans(dict.fromkeys("\n\r\t", " "))

# Stands for a value that was refused: its violation is already noted and nobody sees it.
NO_UUID: Final = UUID(int=0)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of google.protobuf.Timestamp.
_FIRST_SECOND: Final = -62_135_596_800
_LAST_SECOND: Final = 253_402_300_799
_LAST_NANO: Final = 999_999_999


def parse_uuid(text: str) -> UUID:
    """The UUID that `is_uuid(text)` found well-formed; seven times as fast as `uuid.UUID`, and a subclass."""
    uuid: UUID = FastUUID(text)
    return uuid


def to_datetime(stamp: Timestamp) -> datetime:
    """The moment, in whole microseconds, of a stamp that is in range."""
    return _EPOCH + timedelta(0, stamp.seconds, stamp.nanos // 1000)


def in_range(stamp: Timestamp) -> bool:
    """Whether the stamp is one of the moments that google.protobuf.Timestamp can name."""
    return _FIRST_SECOND <= stamp.seconds <= _LAST_SECOND and 0 <= stamp.nanos <= _LAST_NANO


class Checks:
    """Takes the fields of one request and notes what is wrong with each; `done` raises if anything was.

    Each method returns the parsed value, or one that nobody will see.
    """

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []

    def done(self) -> None:
        """INVALID_FIELDS with every violation noted, if there is one."""
        if self.violations:
            raise invalid_fields(self.violations)

    def wrong(self, field: str, description: str) -> None:
        """Notes a violation."""
        self.violations.append(FieldViolation(field, description))

    def uuid(self, field: str, text: str) -> UUID:
        """A UUID in its canonical form, letters of any case."""
        if is_uuid(text):
            return parse_uuid(text)
        self.wrong(field, "must be a UUID in its 36-character form")
        return NO_UUID

    def opaque_id(self, field: str, value: str, *, longest: int = LONGEST_ID, optional: bool = False) -> str:
        """Printable ASCII without spaces, 1 to `longest` characters."""
        if not value:
            if not optional:
                self.wrong(field, "must be given")
        elif len(value) > longest:
            self.wrong(field, f"must have at most {longest} characters")
        elif not _is_visible(value):
            self.wrong(field, "must be printable ASCII without spaces")
        return value

    def text(self, field: str, value: str) -> str:
        """Free text; line breaks are allowed."""
        if len(value) > LONGEST_TEXT:
            self.wrong(field, f"must have at most {LONGEST_TEXT} characters")
        if not value.translate(_LINE_BREAKS).isprintable():
            self.wrong(field, "must not hold control characters")
        return value

    def client_seed(self, field: str, value: str) -> str:
        """A player's own text, for the draws."""
        if len(value.encode()) > LONGEST_SEED_BYTES:
            self.wrong(field, f"must have at most {LONGEST_SEED_BYTES} bytes")
        if not value.isprintable():
            self.wrong(field, "must be printable")
        return value

    def country(self, field: str, value: str) -> str:
        """Two capital letters, or nothing."""
        if value and not is_country(value):
            self.wrong(field, "must be two capital letters of ISO 3166-1")
        return value

    def enum(self, field: str, value: int, known: Collection[int], *, optional: bool = False) -> int:
        """Enums are open on the wire: any number may arrive."""
        if value == 0 and not optional:
            self.wrong(field, "must be given")
        elif value != 0 and value not in known:
            self.wrong(field, "is no value of this enumeration")
        return value

    def currency(self, field: str, code: str, *, optional: bool = False) -> str:
        """A code of ISO 4217 or a declared one."""
        if not code:
            if not optional:
                self.wrong(field, "must be given")
        elif code not in CURRENCIES:
            self.wrong(field, "is no currency of ISO 4217 and none declared here")
        return code

    def amount(self, field: str, minor: int, least: int) -> int:
        """An amount on the wire: `least` to MAX_AMOUNT_MINOR."""
        if not least <= minor <= MAX_AMOUNT_MINOR:
            self.wrong(field, f"must be from {least} to {MAX_AMOUNT_MINOR}")
        return minor

    def tiers(self, field: str, values: Sequence[str]) -> tuple[str, ...]:
        """Tier labels, each once."""
        if len(values) > MAX_TIERS:
            self.wrong(field, f"must name at most {MAX_TIERS} tiers")
        for index, tier in enumerate(values):
            if not _is_tier(tier):
                self.wrong(
                    f"{field}[{index}]",
                    f"must be 1 to {LONGEST_ID} characters of printable ASCII without spaces and commas",
                )
        if len(set(values)) < len(values):
            self.wrong(field, "must name each tier once")
        return tuple(values)

    def time(self, field: str, message: Timestamp, given: bool) -> datetime | None:
        """The moment in whole microseconds, or None if it is not given."""
        if not given:
            return None
        if not in_range(message):
            self.wrong(field, "must be from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z")
            return None
        return to_datetime(message)

    def period(self, start: datetime | None, end: datetime | None) -> None:
        """The fields start_time and end_time of a list."""
        if start is not None and end is not None and end < start:
            self.wrong("end_time", "must not be before start_time")

    def duration_s(self, field: str, message: Duration, longest_s: float) -> float:
        """Seconds from 0 to `longest_s`."""
        well_formed = -_LAST_NANO <= message.nanos <= _LAST_NANO and message.seconds * message.nanos >= 0
        seconds = message.seconds + message.nanos / 1e9
        if not well_formed or not 0 <= seconds <= longest_s:
            self.wrong(field, f"must be from 0 to {longest_s:g} s")
            return 0.0
        return seconds

    def page_size(self, field: str, value: int) -> int:
        """0 is the default; more than the largest page is the largest page."""
        if value < 0:
            self.wrong(field, "must not be negative")
        return min(value, MAX_PAGE) or DEFAULT_PAGE

    def not_negative(self, field: str, value: int) -> int:
        """Any number from 0 on."""
        if value < 0:
            self.wrong(field, "must not be negative")
        return value

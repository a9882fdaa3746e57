"""Checks a published draw. Needs Python 3.11 and nothing else; this file runs alone as well as in the server.

    grpcurl … jackpot.v1.JackpotService/GetDraw | python -m jackpot_server verify-draw -
    python verify_draw.py draw.json --commitment <seed_commitment of GetPool, noted while the cycle ran>

It shares no code with the server that made the draw: the method is written down in docs/fairness.md, and
this is that page as a program. Exit status 0: the draw is what it had to be; 1: it is not, or it cannot be
checked, and a line says why.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

_ALL_DRAWS: Final = 2**256
_MICROS: Final = 1_000_000
_MAX_INT64: Final = 2**63 - 1


class Step(NamedTuple):
    """One thing that was looked at, and whether it is as it must be."""

    name: str
    is_right: bool
    account: str


class Unreadable(Exception):
    """The record lacks something, or has something else in its place."""


class Published:
    """A record as grpcurl prints it: base64 bytes, 64-bit numbers as texts, nothing where a value is zero."""

    def __init__(self, document: object) -> None:
        if isinstance(document, dict) and isinstance(document.get("draw"), dict):
            document = document["draw"]
        if not isinstance(document, dict):
            raise Unreadable("the record is not a JSON object")
        # protoc's own names are accepted beside JSON's.
        self._fields = {re.sub("[A-Z]", lambda m: "_" + m[0].lower(), key): document[key] for key in document}

    def text(self, name: str) -> str:
        value = self._fields.get(name, "")
        try:
            if isinstance(value, str) and value.encode() is not None:
                return value
        except UnicodeEncodeError:
            pass  # half a surrogate pair, which JSON lets through
        raise Unreadable(f"{name} is not a text")

    def data(self, name: str, *sizes: int) -> bytes:
        try:
            data = base64.b64decode(self.text(name), validate=True)
        except ValueError:
            raise Unreadable(f"{name} is not base64") from None
        if data and len(data) not in sizes:
            raise Unreadable(f"{name} has {len(data)} bytes")
        return data

    def number(self, name: str) -> int:
        return _number(name, self._fields.get(name, 0))

    def truth(self, name: str) -> bool:
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise Unreadable(f"{name} is neither true nor false")
        return value

    def moment(self, name: str) -> datetime:
        return _moment(name, self.text(name))


class _Inputs(NamedTuple):
    """What goes into a draw."""

    pool_id: str
    cycle: int
    spin_id: uuid.UUID
    client_seed: str
    config_sha256: bytes
    seed: bytes


def verify(document: object, noted_commitment: bytes = b"") -> list[Step]:
    """Every step that could be taken; the draw is proved if there is one and all are right.

    `noted_commitment` is what the verifier saw published before the draw: without it, a commitment made
    up afterwards would go unnoticed.
    """
    steps: list[Step] = []
    try:
        steps.extend(_steps(Published(document), noted_commitment))
    except Unreadable as unreadable:
        steps.append(Step("record", False, str(unreadable)))
    except OverflowError:
        steps.append(Step("record", False, "a time in it is beyond the calendar"))
    return steps


def _steps(draw: Published, noted_commitment: bytes) -> Iterator[Step]:
    inputs = _inputs(draw)
    yield Step(
        "record",
        draw.text("name") == f"{draw.text('pool')}/draws/{inputs.spin_id}" and inputs.cycle > 0,
        f"spin {inputs.spin_id} in pool {inputs.pool_id}, cycle {inputs.cycle}",
    )
    commitment = draw.data("seed_commitment", 32)
    if not inputs.seed:
        raise Unreadable(
            "there is no seed in it: its cycle is still open, or the root key "
            f"{draw.text('key_id')!r} is not with the server; ask again later"
        )
    yield Step(
        "commitment",
        hashlib.sha256(inputs.seed).digest() == commitment,
        f"SHA-256(seed) against {commitment.hex()}",
    )
    if noted_commitment:
        yield Step("noted", noted_commitment == commitment, f"against {noted_commitment.hex()}, noted before")
    committed, drawn = draw.moment("commit_time"), draw.moment("draw_time")
    yield Step("order", committed <= drawn, f"committed {committed}, drawn {drawn} (as the server says)")
    text = draw.text("config_json")
    yield Step(
        "configuration",
        hashlib.sha256(text.encode()).digest() == inputs.config_sha256,
        f"SHA-256(config_json) against {inputs.config_sha256.hex()}",
    )
    config = _config(text)
    match [trigger for trigger in ("odds", "must_hit_by", "must_drop_by", "game") if trigger in config]:
        case ["odds"]:
            yield from _odds_steps(draw, inputs, config["odds"])
        case ["must_hit_by"]:
            yield from _hidden_amount_steps(draw, inputs, config["must_hit_by"])
        case ["must_drop_by"]:
            yield from _hidden_moment_steps(draw, inputs, config["must_drop_by"])
        case ["game"]:
            raise Unreadable("the game itself decides when its pool falls: nothing was drawn")
        case _:
            raise Unreadable("its pool has a trigger that this program does not know")


def _odds_steps(draw: Published, inputs: _Inputs, odds: Mapping[str, Any]) -> Iterator[Step]:
    one_in, per_wager = _positive(odds, "one_in"), _positive(odds, "per_wager_minor")
    wager = draw.number("wager_minor")
    message = (
        _part(inputs.pool_id.encode())
        + _part(inputs.cycle.to_bytes(8, "big"))
        + _part(inputs.spin_id.bytes)
        + _part(inputs.client_seed.encode())
        + _part(inputs.config_sha256)
    )
    value = hmac.new(inputs.seed, message, hashlib.sha256).digest()
    yield Step("draw", value == draw.data("value", 32), f"HMAC-SHA256(seed, …) = {value.hex()}")
    threshold = min(wager * _ALL_DRAWS // (per_wager * one_in), _ALL_DRAWS)
    yield Step(
        "threshold",
        threshold == int.from_bytes(draw.data("threshold", 32, 33), "big"),
        f"⌊2^256 × {wager} / ({per_wager} × {one_in})⌋ = {threshold:064x}",
    )
    yield _result(draw, int.from_bytes(value, "big") < threshold, "the draw is below its threshold")


def _hidden_amount_steps(draw: Published, inputs: _Inputs, bounds: Mapping[str, Any]) -> Iterator[Step]:
    floor, ceiling = (_positive(bounds, name) * _MICROS for name in ("floor_minor", "ceiling_minor"))
    start, reached = draw.number("cycle_start_micros"), draw.number("reached")
    low = min(max(floor, start), ceiling)
    yield Step(
        "bounds",
        0 < start <= reached <= ceiling,
        f"opened with {start}, reached {reached}; hidden within [{low}, {ceiling}] (micros)",
    )
    if low > ceiling:
        raise Unreadable("the floor is above the ceiling")
    hidden = _uniform(b"must_hit_by", inputs, low, ceiling)
    yield Step("hidden amount", hidden == draw.number("hidden"), f"HMAC-SHA256(seed, …) gives {hidden}")
    yield _result(draw, reached >= hidden, "the pool has reached its hidden amount")


def _hidden_moment_steps(draw: Published, inputs: _Inputs, periods: Mapping[str, Any]) -> Iterator[Step]:
    period = timedelta(seconds=_positive(periods, "period_s"))
    first = _moment("first_deadline", periods.get("first_deadline"))
    opened, deadline = draw.moment("cycle_start_time"), draw.moment("cycle_deadline")
    # The first deadline after the cycle opened, or the one after that if the pool had fallen in time.
    next_deadline = first + max((opened - first) // period + 1, 0) * period
    yield Step(
        "period",
        deadline in (next_deadline, next_deadline + period),
        f"opened {opened}, to fall by {deadline}; a period lasts {period}",
    )
    earliest = _since_1970(min(max(opened, deadline - period), deadline))
    hidden = _uniform(b"must_drop_by", inputs, earliest, _since_1970(deadline))
    yield Step("hidden moment", hidden == draw.number("hidden"), f"HMAC-SHA256(seed, …) gives {hidden}")
    reached = draw.number("reached")
    yield Step("moment", reached == _since_1970(draw.moment("draw_time")), f"drawn at {reached}")
    yield _result(draw, reached >= hidden, "the hidden moment has come")


def _since_1970(moment: datetime) -> int:
    """In microseconds."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _result(draw: Published, has_to_win: bool, because: str) -> Step:
    said = "won" if draw.truth("won") else "not won"
    account = f"{because}: it wins" if has_to_win else f"not so that {because}: it does not win"
    return Step("result", draw.truth("won") == has_to_win, f"{account}; the record says {said}")


def _uniform(label: bytes, inputs: _Inputs, low: int, high: int) -> int:
    """A number of [low, high], all equally likely: values of an incomplete last round are drawn again."""
    size = high - low + 1
    rounds = _ALL_DRAWS // size
    message = (
        _part(label)
        + _part(inputs.pool_id.encode())
        + _part(inputs.cycle.to_bytes(8, "big"))
        + _part(inputs.config_sha256)
    )
    counter = 0
    while True:
        digest = hmac.new(inputs.seed, message + _part(counter.to_bytes(8, "big")), hashlib.sha256).digest()
        value = int.from_bytes(digest, "big")
        if value < rounds * size:
            return low + value % size
        counter += 1


def _part(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _inputs(draw: Published) -> _Inputs:
    try:
        spin_id = uuid.UUID(draw.text("spin_id"))
    except ValueError:
        raise Unreadable("spin_id is not a UUID") from None
    return _Inputs(
        draw.text("pool").removeprefix("pools/"),
        draw.number("cycle"),
        spin_id,
        draw.text("client_seed"),
        draw.data("config_sha256", 32),
        draw.data("seed", 32),
    )


def _config(text: str) -> Mapping[str, Any]:
    try:
        config = _read_json(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or not all(
        isinstance(config.get(trigger, {}), dict)
        for trigger in ("odds", "must_hit_by", "must_drop_by", "game")
    ):
        raise Unreadable("config_json is not the text of a configuration")
    return config


def _moment(name: str, value: object) -> datetime:
    try:
        if isinstance(value, str) and (moment := datetime.fromisoformat(value)).tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Unreadable(f"{name} is not a time")


def _positive(values: Mapping[str, Any], name: str) -> int:
    number = _number(name, values.get(name, 0))
    if number == 0:
        raise Unreadable(f"{name} is not there, or zero")
    return number


def _number(name: str, value: object) -> int:
    if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value):
        value = int(value)
    if type(value) is not int or not 0 <= value <= _MAX_INT64:
        raise Unreadable(f"{name} is not a number from 0 to 2^63 - 1")
    return value


def _read_json(text: str) -> object:
    """ValueError if it is none, or if a name stands in it twice: others might read the other one."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice")
        return dict(pairs)

    document: object = json.loads(text, object_pairs_hook=unique)
    return document


def _noted(text: str) -> bytes:
    """A commitment as hexadecimal, or base64 as grpcurl prints it."""
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return bytes.fromhex(text)
    data = base64.b64decode(text, validate=True)
    if len(data) != hashlib.sha256().digest_size:
        raise ValueError("a commitment has 32 bytes")
    return data


def check(source: str, commitment: str, out: TextIO) -> int:
    """Verifies the record in the file `source` ("-": standard input), tells how; the exit status."""
    try:
        noted = _noted(commitment) if commitment else b""
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        document = _read_json(text)
    except (OSError, ValueError, RecursionError) as error:
        out.write(f"WRONG  {error}\n")
        return 1
    steps = verify(document, noted)
    for step in steps:
        out.write(f"{'ok   ' if step.is_right else 'WRONG'}  {step.name:13}  {step.account}\n")
    if all(step.is_right for step in steps):
        out.write("The draw followed from the seed that was committed.\n")
        return 0
    out.write("The draw is not proved.\n")
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this file alone."""
    parser = argparse.ArgumentParser(description="Checks a published draw.")
    parser.add_argument("file", help="what GetDraw answered, as JSON; - for standard input")
    parser.add_argument("--commitment", default="", help="the seed's commitment as noted before the draw")
    parsed = parser.parse_args(arguments)
    return check(parsed.file, parsed.commitment, sys.stdout)


if __name__ == "__main__":
    sys.exit(main())

"""One draw once more, from its record and the seed of its cycle: what is published of it (PR-15)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from jackpot_server.domain.draw import (
    Draws,
    draw_prefix,
    draw_suffix,
    hidden_amount,
    hidden_moment,
    threshold,
)
from jackpot_server.domain.facts import Proof
from jackpot_server.domain.pool import GameSays, MustDropBy, MustHitBy, Odds, parse_canonical
from jackpot_server.domain.trigger import hidden_range, moment_range, since_1970


@dataclass(frozen=True, slots=True)
class DrawRecord:
    """What is stored of one spin's draw in one pool.

    `config_json` is the configuration that the cycle kept. `balance_micros` is the pool with this spin's
    share in it. What the cycle opened with (`cycle_start_micros`, `cycle_start_time`, `cycle_deadline`) is
    None where it is not known. `is_over`: the cycle has closed, so nothing of its seed is secret any more.
    """

    pool_id: str
    cycle: int
    spin_id: UUID
    client_seed: str
    wager_minor: int
    config_json: str
    config_sha256: bytes
    balance_micros: int
    cycle_start_micros: int | None
    cycle_start_time: datetime | None
    cycle_deadline: datetime | None
    is_over: bool
    won: bool
    key_id: str
    seed_commitment: bytes
    commit_time: datetime
    draw_time: datetime


@dataclass(frozen=True, slots=True)
class PublishedDraw:
    """A record, why it won or not, and the seed: empty while it is a secret."""

    record: DrawRecord
    proof: Proof
    seed: bytes


def publish(record: DrawRecord, seed: bytes | None) -> PublishedDraw | None:
    """What anybody may know of a draw; None if the pool's trigger draws nothing for a spin.

    While the cycle is open that is the draw's value, which tells nothing about any other draw, but neither
    the seed nor the hidden amount. Without a seed (None: its root key is not here) it is what needs none.
    """
    match parse_canonical(record.config_json).trigger:
        case Odds() as odds:
            value = None if seed is None else _value(record, seed)
            proof = Proof(value=value, threshold=threshold(odds, record.wager_minor))
        case MustHitBy() as trigger:
            hidden = _hidden(record, trigger, seed) if seed is not None and record.is_over else None
            proof = Proof(
                reached=record.balance_micros, hidden=hidden, cycle_start_micros=record.cycle_start_micros
            )
        case MustDropBy() as trigger:
            moment = _moment(record, trigger, seed) if seed is not None and record.is_over else None
            proof = Proof(
                reached=since_1970(record.draw_time),
                hidden=moment,
                cycle_start_time=record.cycle_start_time,
                cycle_deadline=record.cycle_deadline,
            )
        case GameSays():
            return None
    return PublishedDraw(record, proof, seed if seed is not None and record.is_over else b"")


def _value(record: DrawRecord, seed: bytes) -> int:
    prefix = draw_prefix(record.pool_id, record.cycle)
    return Draws(seed).draw(
        prefix, record.spin_id.bytes, draw_suffix(record.client_seed, record.config_sha256)
    )


def _hidden(record: DrawRecord, trigger: MustHitBy, seed: bytes) -> int | None:
    if record.cycle_start_micros is None:
        return None
    low, high = hidden_range(trigger, record.cycle_start_micros)
    return hidden_amount(seed, record.pool_id, record.cycle, record.config_sha256, low, high)


def _moment(record: DrawRecord, trigger: MustDropBy, seed: bytes) -> int | None:
    if record.cycle_start_time is None or record.cycle_deadline is None:
        return None
    earliest, latest = moment_range(trigger, record.cycle_start_time, record.cycle_deadline)
    return hidden_moment(seed, record.pool_id, record.cycle, record.config_sha256, earliest, latest)

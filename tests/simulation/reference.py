"""The rules of a jackpot in the simplest possible way: one spin at a time, dictionaries, no batches.

Written from the rules, not from the engine: it shares no code with it, not even the hash. Slow and plain on
purpose; where the two disagree, one of them is wrong.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any

MICRO = 1_000_000
LARGEST_ACCOUNT = 4 * 10**18


def length_prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def eight_bytes(value: int) -> bytes:
    return value.to_bytes(8, "big")


def hmac_number(key: bytes, message: bytes) -> int:
    return int(hmac.new(key, message, hashlib.sha256).hexdigest(), 16)


@dataclass
class ModelPool:
    """`rates` are those that the running cycle keeps, `newest` those of the next one: plain dictionaries."""

    pool_id: str
    newest: dict[str, Any]
    rates: dict[str, Any] = field(init=False)
    paused: bool = False
    closed: bool = False
    cycle: int = 1
    current: int = 0
    reserve: int = 0
    overflow: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        self.rates = self.newest
        self.current = self.start = self.newest["reset"] * MICRO


@dataclass
class ModelWin:
    pool_id: str
    cycle: int
    amount: int
    operator: str
    currency: str
    state: str = "PAYABLE"
    hold: str = "NONE"
    review: bool = False
    voided: bool = False
    entry: str = ""
    sequence: int = 0
    said: list[tuple[object, ...]] = field(default_factory=list)


class Model:
    """What the jackpot server should do, said plainly."""

    def __init__(self, root_key: bytes, pools: dict[str, dict[str, Any]]) -> None:
        self.root_key = root_key
        self.pools = {pool_id: ModelPool(pool_id, config) for pool_id, config in pools.items()}
        self.spins: dict[object, tuple[dict[str, Any], list[tuple[object, ...]], list[ModelWin]]] = {}
        self.wins: dict[tuple[str, object], ModelWin] = {}
        self.events: dict[str, int] = {}
        # Voided spins: whose, and the pools whose wins the wallet had credited.
        self.voids: dict[object, tuple[str, tuple[str, ...]]] = {}
        self.taken_back = 0
        self.corrected = 0
        self.house = 0
        self.funded: dict[str, int] = {}

    def contribute(self, spin: dict[str, Any]) -> tuple[object, ...]:
        """("recorded", "replayed" or "voided", shares, wins) or ("reused", fields)."""
        if spin["spin_id"] in self.voids and spin["spin_id"] not in self.spins:
            if self.voids[spin["spin_id"]][0] != spin["operator"]:
                return "reused", set()
            return "voided", [], []
        if spin["spin_id"] in self.spins:
            first, shares, wins = self.spins[spin["spin_id"]]
            other = {name for name in spin if spin[name] != first[name]}
            if other:
                return "reused", other if "operator" not in other else set()
            return "replayed", shares, wins
        shares, wins = [], []
        for pool in self.pools.values():
            config = pool.newest
            if pool.closed:
                continue
            if config["games"] and spin["game"] not in config["games"]:
                continue
            if spin["currency"] != config["currency"]:
                shares.append((pool.pool_id, "CURRENCY"))
            elif spin["stake_kind"] not in config["stake_kinds"]:
                shares.append((pool.pool_id, "STAKE_KIND"))
            else:
                shares.append(self.share(pool, spin, wins))
        self.spins[spin["spin_id"]] = spin, shares, wins
        return "recorded", shares, wins

    def share(self, pool: ModelPool, spin: dict[str, Any], wins: list[ModelWin]) -> tuple[object, ...]:
        wager, rates = spin["wager"], pool.rates
        if pool.paused:
            return pool.pool_id, "PAUSED"
        if wager < pool.newest["min_wager"]:
            return pool.pool_id, "BELOW_MINIMUM"
        bound = pool.newest["max_contribution"]
        if bound and wager * rates["contribution_ppm"] > bound * MICRO:
            return pool.pool_id, "ABOVE_BOUND"
        to_pool, to_overflow, to_reserve = wager * rates["contribution_ppm"], 0, wager * rates["reserve_ppm"]
        ceiling = self.ceiling(rates)
        if pool.current + to_pool > ceiling:
            to_overflow = pool.current + to_pool - ceiling
            to_pool -= to_overflow
        limit = rates["overflow_limit"] * MICRO or LARGEST_ACCOUNT
        if pool.overflow + to_overflow > limit:
            beyond = to_overflow - max(limit - pool.overflow, 0)
            to_overflow -= beyond
            to_reserve += beyond
        pool.current += to_pool
        pool.overflow += to_overflow
        pool.reserve += to_reserve
        self.funded[spin["operator"]] = (
            self.funded.get(spin["operator"], 0) + to_pool + to_overflow + to_reserve
        )
        share = pool.pool_id, pool.cycle, to_pool, to_reserve, to_overflow, pool.current
        if self.falls(pool, spin):
            wins.append(self.win(pool, spin))
        return share

    def ceiling(self, rates: dict[str, Any]) -> int:
        if rates["must_hit_by"]:
            return int(rates["must_hit_by"][1]) * MICRO
        return int(rates["ceiling"]) * MICRO or LARGEST_ACCOUNT

    def falls(self, pool: ModelPool, spin: dict[str, Any]) -> bool:
        seed = hmac.new(
            self.root_key, length_prefixed(pool.pool_id.encode(), eight_bytes(pool.cycle)), hashlib.sha256
        ).digest()
        digest: bytes = pool.rates["digest"]
        if pool.rates["must_hit_by"]:
            floor, ceiling = pool.rates["must_hit_by"]
            low, high = min(max(floor * MICRO, pool.start), ceiling * MICRO), ceiling * MICRO
            message = length_prefixed(b"must_hit_by", pool.pool_id.encode(), eight_bytes(pool.cycle), digest)
            counter, size = 0, high - low + 1
            value = hmac_number(seed, message + length_prefixed(eight_bytes(counter)))
            while value >= 2**256 // size * size:
                counter += 1
                value = hmac_number(seed, message + length_prefixed(eight_bytes(counter)))
            hidden: int = low + value % size
            return pool.current >= hidden
        one_in, per_wager = pool.rates["odds"]
        message = length_prefixed(
            pool.pool_id.encode(),
            eight_bytes(pool.cycle),
            spin["spin_id"].bytes,
            spin["client_seed"].encode(),
            digest,
        )
        threshold: int = 2**256 * spin["wager"] // (per_wager * one_in)
        return hmac_number(seed, message) < threshold

    def win(self, pool: ModelPool, spin: dict[str, Any]) -> ModelWin:
        amount = pool.current // MICRO
        win = ModelWin(pool.pool_id, pool.cycle, amount, spin["operator"], spin["currency"])
        if 0 < pool.newest["hold_above"] < amount:
            win.state, win.hold = "HELD", "AMOUNT"
        self.wins[pool.pool_id, spin["spin_id"]] = win
        self.tell(win)
        pool.current -= amount * MICRO
        pool.rates = pool.newest
        needed = min(pool.rates["reset"] * MICRO + pool.overflow, self.ceiling(pool.rates) - pool.current)
        pool.current += needed
        for account in ("overflow", "reserve"):
            paid = min(getattr(pool, account), needed)
            setattr(pool, account, getattr(pool, account) - paid)
            needed -= paid
        self.house -= needed
        pool.cycle += 1
        pool.start = pool.current
        return win

    def tell(self, win: ModelWin) -> None:
        self.events[win.operator] = self.events.get(win.operator, 0) + 1
        win.sequence = self.events[win.operator]

    def acknowledge(
        self, key: tuple[str, object], outcome: str, entry: str, amount: int | None, sequence: int
    ) -> str:
        """ "done", "replayed", or the reason of the refusal."""
        if key not in self.wins:
            return "WIN_NOT_FOUND"
        win = self.wins[key]
        if outcome == "CREDITED":
            return self.credited(win, entry, amount, sequence)
        said = (outcome, entry, amount, sequence)
        is_repeat = said in win.said
        win.said.append(said)
        wanted = "PAYABLE" if outcome == "FAILED" else "HELD"
        if is_repeat or win.state != wanted or sequence != win.sequence:
            return "replayed"
        if outcome == "FAILED":
            win.state, win.hold = "HELD", "CREDIT_FAILED"
            self.tell(win)
        return "done"

    def credited(self, win: ModelWin, entry: str, amount: int | None, sequence: int) -> str:
        if amount != win.amount:
            return "AMOUNT_MISMATCH"
        known_entries = {said[1] for said in win.said if said[0] == "CREDITED"}
        win.said.append(("CREDITED", entry, amount, sequence))
        if win.state in ("PAYABLE", "HELD"):
            win.review = win.review or win.state == "HELD"
            win.state, win.entry = "PAID", entry
            self.tell(win)
            return "done"
        if win.state == "REJECTED":
            return "WIN_NOT_PAYABLE"
        if not win.entry:
            win.entry = entry
            self.tell(win)
            return "done"
        if entry == win.entry:
            return "replayed"
        if entry not in known_entries:
            win.review = True
            self.tell(win)
        return "WIN_ALREADY_PAID"

    def void(self, spin_id: object, operator: str, credited: tuple[str, ...]) -> tuple[object, ...]:
        """("voided" or "voided again", wins) or ("reused", fields)."""
        if spin_id in self.spins and self.spins[spin_id][0]["operator"] != operator:
            return "reused", set()
        if spin_id in self.voids:
            if self.voids[spin_id][0] != operator:
                return "reused", set()
            if self.voids[spin_id][1] != credited:
                return "reused", {"credited_wins"}
            return "voided again", self.spins[spin_id][2] if spin_id in self.spins else []
        self.voids[spin_id] = operator, credited
        if spin_id not in self.spins:
            return "voided", []
        _, shares, wins = self.spins[spin_id]
        for share in shares:
            if len(share) > 2:
                pool_id, _, to_pool, to_reserve, to_overflow, _ = share
                self.take_back(self.pools[str(pool_id)], int(to_pool + to_reserve + to_overflow))  # type: ignore[operator]
        for win in wins:
            self.void_win(win, win.pool_id in credited)
        return "voided", wins

    def take_back(self, pool: ModelPool, micros: int) -> None:
        self.taken_back += micros
        for account in ("overflow", "reserve"):
            paid = min(getattr(pool, account), micros)
            setattr(pool, account, getattr(pool, account) - paid)
            micros -= paid
        self.house -= micros

    def void_win(self, win: ModelWin, credited: bool) -> None:
        if win.state == "REJECTED":
            return
        win.voided = True
        if credited and win.state != "PAID":
            win.state = "PAID"
        if win.state == "PAID":
            win.review = True
        else:
            win.state, win.hold = "HELD", "VOID"
        self.tell(win)

    def hold(self, key: tuple[str, object]) -> str:
        win = self.wins[key]
        if win.state in ("PAID", "REJECTED"):
            return {"PAID": "WIN_ALREADY_PAID", "REJECTED": "WIN_NOT_PAYABLE"}[win.state]
        if win.state == "PAYABLE":
            win.state, win.hold = "HELD", "OPERATOR"
            self.tell(win)
        return "held"

    def release(self, key: tuple[str, object]) -> str:
        win = self.wins[key]
        if win.state != "HELD":
            return "WIN_NOT_HELD"
        win.state, win.hold = "PAYABLE", "NONE"
        self.tell(win)
        return "released"

    def reject(self, key: tuple[str, object]) -> str:
        win, pool = self.wins[key], self.pools[key[0]]
        if win.state != "HELD":
            return "WIN_NOT_HELD"
        confirmed = [said[3] for said in win.said if said[0] == "HOLD_CONFIRMED"]
        if win.hold == "OPERATOR" and win.sequence not in confirmed:
            return "WIN_HOLD_UNCONFIRMED"
        win.state = "REJECTED"
        self.tell(win)
        micros = win.amount * MICRO
        if not pool.closed:
            limit = pool.rates["overflow_limit"] * MICRO or LARGEST_ACCOUNT
            for account, most in (("current", self.ceiling(pool.rates)), ("overflow", limit)):
                part = min(micros, max(most - getattr(pool, account), 0))
                setattr(pool, account, getattr(pool, account) + part)
                micros -= part
            pool.reserve += micros
            micros = 0
        self.house += micros
        return "rejected"

    def close(self, source: ModelPool, into: ModelPool) -> None:
        ceiling = min(self.ceiling(into.rates), self.ceiling(into.newest))
        moved = min(source.current, max(ceiling - into.current, 0))
        into.current += moved
        into.overflow += source.overflow + source.current - moved
        into.reserve += source.reserve
        source.current = source.reserve = source.overflow = source.start = 0
        source.closed = True
        source.cycle += 1

    def correct(self, pool: ModelPool, micros: int) -> str:
        if not 0 <= pool.current + micros <= self.ceiling(pool.rates):
            return "INVALID_FIELDS"
        pool.current += micros
        self.corrected += micros
        return "corrected"

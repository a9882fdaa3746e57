"""What the load generators send: requests that are encoded once and get a new spin id each time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from google.protobuf.message import Message

from protos.jackpot.v1 import jackpot_pb2
from protos.spin.v1 import spin_pb2

OPERATOR, PROVIDER, CURRENCY = "bench", "house", "COIN"
SLOTS_GAME, TABLE_GAME, PLAIN_GAME = "demo-slots", "demo-table", "plain-slots"
GAMES = {"slots": SLOTS_GAME, "table": TABLE_GAME, "plain": PLAIN_GAME}
POOL = "pools/grand"
WALLETS = 1000
WAGER_MINOR = 100
BATCH = 50

_PLACE = "00000000-0000-4000-8000-000000000000"
_ID_BITS = 48


def wallet_id(number: int) -> str:
    """The wallet of player `number`; `user_id` goes with it."""
    return f"player-{number}"


def user_id(number: int) -> str:
    """Player `number`."""
    return f"user-{number}"


class SpinIds:
    """New UUIDs, at the price of formatting a number."""

    def __init__(self) -> None:
        # Version and variant stay as drawn; the last twelve digits count.
        self._prefix = str(uuid4())[:24]
        self._next = 0

    def take(self) -> str:
        """The next one."""
        self._next += 1
        assert self._next < 1 << _ID_BITS
        return f"{self._prefix}{self._next:012x}"


class Mould:
    """An encoded request whose spin ids are left open: ids have one length, so no other byte changes."""

    def __init__(self, message: Message) -> None:
        self._parts = message.SerializeToString().split(_PLACE.encode())
        self.places = len(self._parts) - 1

    def fill(self, spin_ids: Sequence[str]) -> bytes:
        """The request with these ids, one for each place."""
        pieces = [self._parts[0]]
        for spin_id, part in zip(spin_ids, self._parts[1:], strict=True):
            pieces += (spin_id.encode(), part)
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of call: its method, its requests, and which spin ids an answer confirms as new."""

    path: str
    moulds: Sequence[Mould]
    confirmed: Callable[[bytes], list[str]]


def _spin(number: int, game_id: str, payout_minor: int) -> spin_pb2.SettleSpinRequest:
    return spin_pb2.SettleSpinRequest(
        spin_id=_PLACE,
        operator_id=OPERATOR,
        user_id=user_id(number),
        wallet_id=wallet_id(number),
        game_id=game_id,
        provider_name=PROVIDER,
        provider_round_id="round",
        wager=spin_pb2.Money(currency_code=CURRENCY, amount_minor=WAGER_MINOR),
        payout=spin_pb2.Money(currency_code=CURRENCY, amount_minor=payout_minor),
    )


def _contribution(number: int) -> jackpot_pb2.RecordContributionRequest:
    return jackpot_pb2.RecordContributionRequest(
        spin_id=_PLACE,
        operator_id=OPERATOR,
        user_id=user_id(number),
        wallet_id=wallet_id(number),
        wager=jackpot_pb2.Money(currency_code=CURRENCY, amount_minor=WAGER_MINOR),
        game_category=jackpot_pb2.GAME_CATEGORY_SLOTS,
        game_id=SLOTS_GAME,
        provider_name=PROVIDER,
        provider_round_id="round",
        stake_kind=jackpot_pb2.STAKE_KIND_CASH,
    )


def _spins(game_id: str) -> list[Mould]:
    # Every player loses one spin and gets the wager back in the other.
    return [Mould(_spin(number, game_id, payout)) for payout in (0, WAGER_MINOR) for number in range(WALLETS)]


def _settled(raw: bytes) -> list[str]:
    answer = spin_pb2.SettleSpinResponse.FromString(raw)
    return [] if answer.replayed else [answer.spin.spin_id]


def _recorded(raw: bytes) -> list[str]:
    answer = jackpot_pb2.RecordContributionResponse.FromString(raw)
    return [] if answer.replayed else [answer.contribution.spin_id]


def _all_recorded(raw: bytes) -> list[str]:
    results = jackpot_pb2.BatchRecordContributionsResponse.FromString(raw).results
    return [each.recorded.contribution.spin_id for each in results if not each.recorded.replayed]


def _shown(raw: bytes) -> list[str]:
    pool = jackpot_pb2.GetPoolResponse.FromString(raw).pool
    assert pool.name == POOL, pool.name
    return []


def call_named(name: str) -> Call:
    """Of GAMES, `contribution`, `batch` or `pool`."""
    if name == "pool":
        request = jackpot_pb2.GetPoolRequest(name=POOL)
        return Call("/jackpot.v1.JackpotService/GetPool", [Mould(request)], _shown)
    if name in GAMES:
        return Call("/spin.v1.SpinService/SettleSpin", _spins(GAMES[name]), _settled)
    if name == "contribution":
        moulds = [Mould(_contribution(number)) for number in range(WALLETS)]
        return Call("/jackpot.v1.JackpotService/RecordContribution", moulds, _recorded)
    assert name == "batch", name
    entries = jackpot_pb2.BatchRecordContributionsRequest(requests=[_contribution(n) for n in range(BATCH)])
    path = "/jackpot.v1.JackpotService/BatchRecordContributions"
    return Call(path, [Mould(entries)], _all_recorded)

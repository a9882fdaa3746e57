"""Nothing that a caller sends is answered with UNKNOWN or INTERNAL, and every wrong field is named."""

import random
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from protos.spin.v1 import spin_pb2 as pb
from service_kit.money import MAX_AMOUNT_MINOR
from tests.integration.spin_server.serving import (
    Client,
    error_of,
    play_request,
    read_error,
    serving,
    settle_request,
)

CALLS = 3_000
SEED = 20260101

IDS = ["", "with space", "ünicode", "x" * 65, "nul\0", "line\n"]
OPTIONAL_IDS = IDS[1:]
UUIDS = ["", "no-uuid", "{12345678-1234-5678-1234-567812345678}", "12345678123456781234567812345678"]
AMOUNTS = [-1, -(2**63), MAX_AMOUNT_MINOR + 1, 2**63 - 1]
MONIES = [
    pb.Money(),
    pb.Money(currency_code="XXX", amount_minor=1),
    pb.Money(currency_code="coin", amount_minor=1),
    *(pb.Money(currency_code="COIN", amount_minor=amount) for amount in AMOUNTS),
]
SPIN_NAMES = ["", "spins/", "spins/1", "wallets/w", f"spins/{'1' * 32}"]
WALLET_NAMES = ["", "wallets/", "w", "wallets/a b", f"wallets/{'x' * 65}", "wallets/a\0"]
TOKENS = ["x", "ü", "AAAA", "!" * 40, "A" * 100]
TIMES = [Timestamp(seconds=-(2**63)), Timestamp(seconds=2**62), Timestamp(nanos=-1), Timestamp(nanos=10**9)]

TERMS: dict[str, list[Any]] = {
    "spin_id": UUIDS,
    "operator_id": IDS,
    "user_id": IDS,
    "wallet_id": IDS,
    "game_id": IDS,
    "provider_name": OPTIONAL_IDS,
    "provider_round_id": ["a b", "x" * 129],
    "wager": [*MONIES, pb.Money(currency_code="COIN")],
    "stake_kind": [4, 99, -1, 2**31 - 1],
    "country_code": ["x", "mt", "MLT", "M\0"],
    "client_seed": ["x" * 65, "ü" * 33, "nul\0", "\x1b"],
}
MONEY_MOVE: dict[str, list[Any]] = {
    "request_id": UUIDS,
    "name": WALLET_NAMES,
    "amount": [*MONIES, pb.Money(currency_code="COIN")],
}
LIST: dict[str, list[Any]] = {"page_size": [-1, -(2**31)], "page_token": TOKENS}

# Of every method: a request that is well-formed, and what each field must not be.
METHODS: dict[str, tuple[Message, dict[str, list[Any]]]] = {
    "SpinService/SettleSpin": (
        settle_request(),
        {
            **TERMS,
            "payout": MONIES,
            "triggered_tiers": [["a b"], [""], ["a,b"], ["A", "A"], ["x" * 65], list("abcdefghijklmnopq")],
        },
    ),
    "SpinService/PlaySpin": (play_request(), TERMS),
    "SpinService/GetSpin": (pb.GetSpinRequest(), {"name": SPIN_NAMES}),
    "SpinService/ListSpins": (
        pb.ListSpinsRequest(operator_id="demo"),
        {
            "operator_id": IDS,
            "user_id": OPTIONAL_IDS,
            "wallet_id": OPTIONAL_IDS,
            "game_id": OPTIONAL_IDS,
            "start_time": TIMES,
            "end_time": TIMES,
            **LIST,
        },
    ),
    "SpinService/WaitForJackpot": (
        pb.WaitForJackpotRequest(),
        {
            "name": SPIN_NAMES,
            "timeout": [
                Duration(seconds=-1),
                Duration(seconds=61),
                Duration(seconds=2**62),
                Duration(seconds=1, nanos=-1),
                Duration(nanos=2**31 - 1),
            ],
        },
    ),
    "GameService/GetGame": (pb.GetGameRequest(), {"name": ["", "games/", "games/a b", "demo-slots"]}),
    "GameService/ListGames": (pb.ListGamesRequest(), LIST),
    "WalletService/CreateWallet": (
        pb.CreateWalletRequest(),
        {
            "request_id": UUIDS,
            "wallet_id": [*IDS, "a/b", "a:b"],
            "operator_id": IDS,
            "user_id": IDS,
            "currency_code": ["", "XXX", "coin", "C" * 100],
        },
    ),
    "WalletService/GetWallet": (pb.GetWalletRequest(), {"name": WALLET_NAMES}),
    "WalletService/Deposit": (pb.DepositRequest(), MONEY_MOVE),
    "WalletService/Withdraw": (pb.WithdrawRequest(), MONEY_MOVE),
    "WalletService/ListWalletEntries": (
        pb.ListWalletEntriesRequest(),
        {"name": WALLET_NAMES, **LIST},
    ),
}


@pytest.fixture
async def client(spins_dsn: str) -> AsyncIterator[Client]:
    async with serving(spins_dsn, jackpot_mode="off") as opened:
        yield opened


def changed(request: Message, fields: dict[str, Any]) -> Message:
    copy = type(request)()
    copy.CopyFrom(request)
    for name, value in fields.items():
        copy.ClearField(name)
        if isinstance(value, Message):
            getattr(copy, name).CopyFrom(value)
        elif isinstance(value, list):
            getattr(copy, name).extend(value)
        else:
            setattr(copy, name, value)
    return copy


async def call(client: Client, method: str, request: Message) -> Any:
    stub = {"Spin": client.spins, "Game": client.games, "Wall": client.wallets}[method[:4]]
    return await getattr(stub, method.partition("/")[2])(request)


@pytest.mark.parametrize("method", METHODS)
async def test_each_malformed_field_is_named(client: Client, method: str) -> None:
    wellformed, malformed = METHODS[method]
    for field, values in malformed.items():
        for value in values:
            error = await error_of(call(client, method, changed(wellformed, {field: value})))
            assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_FIELDS"), (field, value)
            assert any(named.startswith(field) for named in error.fields), (field, value, error.fields)


@pytest.mark.parametrize("method", METHODS)
async def test_all_malformed_fields_of_a_request_are_named_at_once(client: Client, method: str) -> None:
    wellformed, malformed = METHODS[method]
    everything = {field: values[-1] for field, values in malformed.items()}
    error = await error_of(call(client, method, changed(wellformed, everything)))
    assert {named.split(".")[0].split("[")[0] for named in error.fields} == set(malformed)


async def test_nothing_is_missing_from_the_malformed_fields() -> None:
    """Every method of the contract with a request, and every field but those that can hold no wrong value."""
    harmless = {("CreateWalletRequest", "is_test")}
    descriptors = pb.DESCRIPTOR.services_by_name.values()
    methods = {
        f"{service.name}/{method.name}": method for service in descriptors for method in service.methods
    }
    assert methods.keys() - METHODS.keys() == {"SpinService/VoidSpin", "SpinService/GetServerInfo"}
    for name, (_, malformed) in METHODS.items():
        request = methods[name].input_type
        fields = {field.name for field in request.fields if (request.name, field.name) not in harmless}
        assert fields == malformed.keys(), name


@pytest.mark.parametrize("method", METHODS)
async def test_random_bytes_are_undecodable_or_a_refusal(client: Client, method: str) -> None:
    """Never UNKNOWN, never INTERNAL: bytes are a request, or they are not."""
    rng = random.Random(f"{SEED} {method}")
    whole = METHODS[method][0].SerializeToString()
    raw_call: Any = client.channel.unary_unary(f"/spin.v1.{method}")
    seen: set[str] = set()
    for number in range(CALLS // len(METHODS)):
        raw = rng.randbytes(rng.randint(1, 60))
        if number % 2 and whole:
            spoilt = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
            raw = bytes(spoilt)
        try:
            await raw_call(raw)
        except grpc.aio.AioRpcError as failed:
            error = read_error(failed)
            seen.add(error.reason)
            assert error.code not in ("UNKNOWN", "INTERNAL", "UNAVAILABLE"), (SEED, number, raw)
            assert error.reason, (SEED, number, raw)
    assert "UNDECODABLE" in seen

"""The hot path of parsing takes exactly what the examining path takes."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protos.spin.v1 import spin_pb2 as pb
from service_kit.errors import Refusal
from service_kit.money import MAX_AMOUNT_MINOR
from spin_server.domain.commands import Settle
from spin_server.wire import requests

GOOD: dict[str, Any] = {
    "spin_id": "7f1d7c1e-0d5e-4d3a-9c3e-0123456789ab",
    "operator_id": "demo",
    "user_id": "u",
    "wallet_id": "w",
    "game_id": "g",
    "provider_name": "p",
    "provider_round_id": "r",
    "stake_kind": 1,
    "country_code": "MT",
    "client_seed": "luck",
}
ids = st.sampled_from(
    ["", " ", "a", "a b", "a\n", "ü", "x" * 64, "x" * 65, "x" * 128, "x" * 129, "\x7f", "~!"]
)
amounts = st.sampled_from([-1, 0, 1, 100, MAX_AMOUNT_MINOR, MAX_AMOUNT_MINOR + 1, 2**63 - 1])
currencies = st.sampled_from(["COIN", "EUR", "", "XXX", "eur", "COIN\0"])
strange: dict[str, st.SearchStrategy[Any]] = {
    "spin_id": st.sampled_from(
        ["", "7F1D7C1E-0D5E-4D3A-9C3E-0123456789AB", "x", GOOD["spin_id"] + "\n", "٧" * 36]
    ),
    "operator_id": ids,
    "user_id": ids,
    "wallet_id": ids,
    "game_id": ids,
    "provider_name": ids,
    "provider_round_id": ids,
    "stake_kind": st.integers(-2, 6),
    "country_code": st.sampled_from(["", "MT", "mt", "MLT", "M", "ÄÖ"]),
    "client_seed": st.one_of(st.text(max_size=70), st.sampled_from(["", "\0", "ü" * 33, "x" * 65, "x" * 64])),
}


@st.composite
def settle_requests(draw: st.DrawFn) -> pb.SettleSpinRequest:
    changed = draw(st.sets(st.sampled_from(sorted(strange)), max_size=2))
    fields = GOOD | {name: draw(strange[name]) for name in sorted(changed)}
    if draw(st.booleans()):
        fields["triggered_tiers"] = draw(st.lists(st.sampled_from(["MINI", "a,b", "", "MAJOR"]), max_size=2))
    usual = pb.Money(currency_code="COIN", amount_minor=5)
    money = st.one_of(st.just(usual), st.builds(pb.Money, currency_code=currencies, amount_minor=amounts))
    return pb.SettleSpinRequest(**fields, wager=draw(money), payout=draw(money))


def outcome(parse: Any, request: pb.SettleSpinRequest) -> Settle | list[str]:
    try:
        command: Settle = parse(request)
    except Refusal as refused:
        return [violation.field for violation in refused.violations]
    return command


@settings(max_examples=2_000)
@given(settle_requests())
def test_the_hot_path_agrees_with_the_examining_path(request: pb.SettleSpinRequest) -> None:
    assert outcome(requests.settle, request) == outcome(requests._examined_settle, request)


def test_the_usual_request_takes_the_hot_path() -> None:
    money = pb.Money(currency_code="COIN", amount_minor=5)
    assert requests._usual_terms(pb.SettleSpinRequest(**GOOD, wager=money, payout=money)) is not None


def test_an_unspecified_stake_kind_is_cash_and_letters_of_a_uuid_may_be_of_any_case() -> None:
    money = pb.Money(currency_code="COIN", amount_minor=5)
    plain = pb.SettleSpinRequest(**GOOD, wager=money, payout=money)
    other = pb.SettleSpinRequest(
        **GOOD | {"spin_id": GOOD["spin_id"].upper(), "stake_kind": 0}, wager=money, payout=money
    )
    assert requests.settle(plain) == requests.settle(other)


def test_only_a_free_round_may_have_no_wager() -> None:
    nothing = pb.Money(currency_code="COIN")
    for kind, fields in ((0, ["wager.amount_minor"]), (2, ["wager.amount_minor"]), (3, None)):
        request = pb.SettleSpinRequest(**GOOD | {"stake_kind": kind}, wager=nothing, payout=nothing)
        parsed = outcome(requests.settle, request)
        assert parsed == fields or (fields is None and isinstance(parsed, Settle))

"""What a request may hold: every violation is named, and nothing malformed gets through."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from jackpot_server.domain.commands import Contribute, Outcome, StakeKind
from jackpot_server.wire import requests
from protos.jackpot.v1 import jackpot_pb2 as pb
from service_kit.errors import Refusal

SPIN = "0192d3a4-5b6c-7d8e-9fa0-b1c2d3e4f506"
COIN = pb.Money(currency_code="COIN", amount_minor=100)


def contribution(**changes: Any) -> pb.RecordContributionRequest:
    fields: dict[str, Any] = {
        "spin_id": SPIN,
        "operator_id": "demo",
        "user_id": "player-1",
        "wallet_id": "w-1",
        "wager": COIN,
        "game_category": pb.GAME_CATEGORY_SLOTS,
        "game_id": "demo-slots",
        "provider_name": "acme",
        "provider_round_id": "round/77",
        "stake_kind": pb.STAKE_KIND_CASH,
        "country_code": "DE",
        "client_seed": "lucky 7",
        "occur_time": Timestamp(seconds=1_700_000_000, nanos=123_456_789),
    }
    return pb.RecordContributionRequest(**{**fields, **changes})


def acknowledgement(**changes: Any) -> pb.AcknowledgeWinRequest:
    fields: dict[str, Any] = {
        "name": f"pools/mini/wins/{SPIN}",
        "outcome": pb.AcknowledgeWinRequest.OUTCOME_CREDITED,
        "wallet_entry_id": "w-1:42",
        "credited": COIN,
        "event_sequence": 3,
    }
    return pb.AcknowledgeWinRequest(**{**fields, **changes})


def wrong_fields(parse: Callable[[Any], object], request: object) -> list[str]:
    """The fields that `parse` found wrong."""
    with pytest.raises(Refusal) as refused:
        parse(request)
    assert refused.value.reason == "INVALID_FIELDS"
    assert all(violation.description for violation in refused.value.violations)
    return [violation.field for violation in refused.value.violations]


class TestContributions:
    def test_every_field_arrives(self) -> None:
        assert requests.contribution(contribution(triggered_tiers=["MINI", "GRAND"])) == Contribute(
            spin_id=uuid.UUID(SPIN),
            user_id="player-1",
            wallet_id="w-1",
            provider_round_id="round/77",
            client_seed="lucky 7",
            wager_minor=100,
            operator_id="demo",
            currency_code="COIN",
            game_category=1,
            game_id="demo-slots",
            provider_name="acme",
            stake_kind=1,
            country_code="DE",
            triggered_tiers=("MINI", "GRAND"),
            occur_time=datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC),
        )

    def test_the_short_way_and_the_long_way_give_the_same(self) -> None:
        short = requests.contribution(contribution())
        long = requests.contribution(contribution(triggered_tiers=["X"]))
        assert short == long._replace(triggered_tiers=())
        assert type(short.spin_id) is type(long.spin_id)

    def test_an_upper_case_spin_id_is_the_same_spin(self) -> None:
        assert requests.contribution(contribution(spin_id=SPIN.upper())).spin_id == uuid.UUID(SPIN)

    def test_an_unspecified_stake_kind_is_cash(self) -> None:
        assert requests.contribution(contribution(stake_kind=0)).stake_kind == StakeKind.CASH
        assert requests.contribution(contribution(stake_kind=0, triggered_tiers=["X"])).stake_kind == 1

    def test_what_may_be_absent_may(self) -> None:
        request = contribution(provider_name="", provider_round_id="", country_code="", client_seed="")
        request.ClearField("occur_time")
        command = requests.contribution(request)
        assert (command.provider_name, command.country_code, command.occur_time) == ("", "", None)

    def test_the_longest_values_are_taken(self) -> None:
        request = contribution(
            operator_id="o" * 64,
            user_id="~" * 64,
            wallet_id="!" * 64,
            provider_round_id="r" * 128,
            client_seed="é" * 32,
            wager=pb.Money(currency_code="EUR", amount_minor=10**12),
            triggered_tiers=[f"T{n}" for n in range(16)],
        )
        assert requests.contribution(request).wager_minor == 10**12

    @pytest.mark.parametrize(
        ("changes", "fields"),
        [
            ({"spin_id": ""}, ["spin_id"]),
            ({"spin_id": "not-a-uuid"}, ["spin_id"]),
            ({"spin_id": SPIN.replace("-", "")}, ["spin_id"]),
            ({"spin_id": "{" + SPIN + "}"}, ["spin_id"]),
            ({"spin_id": SPIN + "\n"}, ["spin_id"]),
            ({"spin_id": SPIN.replace("0", "٠")}, ["spin_id"]),
            ({"operator_id": ""}, ["operator_id"]),
            ({"operator_id": "o" * 65}, ["operator_id"]),
            ({"operator_id": "a b"}, ["operator_id"]),
            ({"operator_id": "ä"}, ["operator_id"]),
            ({"user_id": "tab\t"}, ["user_id"]),
            ({"user_id": "nul\0"}, ["user_id"]),
            ({"user_id": ""}, ["user_id"]),
            ({"wallet_id": ""}, ["wallet_id"]),
            ({"wallet_id": "x\x7f"}, ["wallet_id"]),
            ({"game_id": ""}, ["game_id"]),
            ({"game_id": "g" * 65}, ["game_id"]),
            ({"provider_name": "p" * 65}, ["provider_name"]),
            ({"provider_name": "a b"}, ["provider_name"]),
            ({"provider_round_id": "r" * 129}, ["provider_round_id"]),
            ({"wager": None}, ["wager.currency_code", "wager.amount_minor"]),
            ({"wager": pb.Money(currency_code="coin", amount_minor=1)}, ["wager.currency_code"]),
            ({"wager": pb.Money(currency_code="COIN", amount_minor=0)}, ["wager.amount_minor"]),
            ({"wager": pb.Money(currency_code="COIN", amount_minor=-1)}, ["wager.amount_minor"]),
            ({"wager": pb.Money(currency_code="COIN", amount_minor=10**12 + 1)}, ["wager.amount_minor"]),
            ({"game_category": 0}, ["game_category"]),
            ({"game_category": 8}, ["game_category"]),
            ({"game_category": -1}, ["game_category"]),
            ({"stake_kind": 4}, ["stake_kind"]),
            ({"stake_kind": -2147483648}, ["stake_kind"]),
            ({"country_code": "de"}, ["country_code"]),
            ({"country_code": "DEU"}, ["country_code"]),
            ({"client_seed": "s" * 65}, ["client_seed"]),
            ({"client_seed": "é" * 33}, ["client_seed"]),
            ({"client_seed": "a\0b"}, ["client_seed"]),
            ({"triggered_tiers": ["A,B"]}, ["triggered_tiers[0]"]),
            ({"triggered_tiers": ["A", ""]}, ["triggered_tiers[1]"]),
            ({"triggered_tiers": ["A", "A"]}, ["triggered_tiers"]),
            ({"triggered_tiers": [str(n) for n in range(17)]}, ["triggered_tiers"]),
            ({"occur_time": Timestamp(nanos=-1)}, ["occur_time"]),
            ({"occur_time": Timestamp(nanos=1_000_000_000)}, ["occur_time"]),
            ({"occur_time": Timestamp(seconds=2**62)}, ["occur_time"]),
            ({"occur_time": Timestamp(seconds=-(2**62))}, ["occur_time"]),
        ],
    )
    def test_a_malformed_field_is_named(self, changes: dict[str, Any], fields: list[str]) -> None:
        assert wrong_fields(requests.contribution, contribution(**changes)) == fields

    def test_all_malformed_fields_are_named_at_once(self) -> None:
        request = pb.RecordContributionRequest(
            spin_id="x",
            wager=pb.Money(currency_code="?", amount_minor=-5),
            game_category=99,  # type: ignore[arg-type]
            provider_name="p" * 65,
            provider_round_id="r" * 129,
            stake_kind=99,  # type: ignore[arg-type]
            country_code="?",
            client_seed="\0",
            triggered_tiers=[""],
            occur_time=Timestamp(nanos=-1),
        )
        assert set(wrong_fields(requests.contribution, request)) == {
            "spin_id",
            "operator_id",
            "user_id",
            "wallet_id",
            "wager.currency_code",
            "wager.amount_minor",
            "game_category",
            "game_id",
            "provider_name",
            "provider_round_id",
            "stake_kind",
            "country_code",
            "client_seed",
            "triggered_tiers[0]",
            "occur_time",
        }

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                **{
                    name: st.text(max_size=140)
                    for name in ("spin_id", "operator_id", "user_id", "wallet_id", "game_id", "provider_name")
                },
                "provider_round_id": st.text(max_size=140),
                "client_seed": st.text(max_size=70),
                "country_code": st.text(max_size=3),
                "game_category": st.integers(-(2**31), 2**31 - 1),
                "stake_kind": st.integers(-(2**31), 2**31 - 1),
                "triggered_tiers": st.lists(st.text(max_size=70), max_size=20),
                "wager": st.builds(
                    pb.Money,
                    currency_code=st.sampled_from(["", "COIN", "EUR", "XXX"]),
                    amount_minor=st.integers(-(2**63), 2**63 - 1),
                ),
                "occur_time": st.builds(
                    Timestamp,
                    seconds=st.integers(-(2**63), 2**63 - 1),
                    nanos=st.integers(-(2**31), 2**31 - 1),
                ),
            },
        )
    )
    def test_whatever_arrives_is_taken_or_refused_by_both_ways_alike(self, changes: dict[str, Any]) -> None:
        request = contribution(**changes)
        try:
            quick: object = requests.contribution(request)
        except Refusal as refusal:
            quick = refusal.violations
        try:
            thorough: object = requests.examined_contribution(request)
        except Refusal as refusal:
            thorough = refusal.violations
        assert quick == thorough


class TestBatches:
    def test_one_bad_item_leaves_the_others(self) -> None:
        batch = pb.BatchRecordContributionsRequest(
            requests=[contribution(), contribution(spin_id="?", user_id=""), contribution(user_id="u2")]
        )
        first, bad, last = requests.contributions(batch)
        assert isinstance(first, Contribute)
        assert isinstance(last, Contribute)
        assert isinstance(bad, Refusal)
        assert [violation.field for violation in bad.violations] == ["spin_id", "user_id"]

    def test_five_hundred_items_are_taken_and_no_more(self) -> None:
        items = [contribution()] * 500
        assert len(requests.contributions(pb.BatchRecordContributionsRequest(requests=items))) == 500
        items.append(contribution())
        batch = pb.BatchRecordContributionsRequest(requests=items)
        assert wrong_fields(requests.contributions, batch) == ["requests"]


class TestAcknowledgements:
    def test_every_field_arrives(self) -> None:
        command = requests.acknowledgement(
            acknowledgement(credit_time=Timestamp(seconds=1), failure_reason="none\nat all")
        )
        assert (command.pool_id, command.spin_id) == ("mini", uuid.UUID(SPIN))
        assert (command.outcome, command.wallet_entry_id) == (Outcome.CREDITED, "w-1:42")
        assert (command.credited_minor, command.currency_code) == (100, "COIN")
        assert (command.event_sequence, command.failure_reason) == (3, "none\nat all")
        assert command.credit_time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)

    def test_a_failure_needs_no_entry(self) -> None:
        request = acknowledgement(outcome=pb.AcknowledgeWinRequest.OUTCOME_FAILED, wallet_entry_id="")
        request.ClearField("credited")
        command = requests.acknowledgement(request)
        assert (command.credited_minor, command.currency_code) == (None, "")

    @pytest.mark.parametrize(
        ("changes", "fields"),
        [
            ({"name": ""}, ["name"]),
            ({"name": f"pools/mini/wins/{SPIN}/"}, ["name"]),
            ({"name": f"pools/Mini/wins/{SPIN}"}, ["name"]),
            ({"name": f"pools/m/wins/{SPIN}"}, ["name"]),
            ({"name": "pools/mini/wins/17"}, ["name"]),
            ({"outcome": 0}, ["outcome"]),
            ({"outcome": 9}, ["outcome"]),
            ({"wallet_entry_id": ""}, ["wallet_entry_id"]),
            ({"wallet_entry_id": "e" * 129}, ["wallet_entry_id"]),
            ({"credited": None}, ["credited"]),
            ({"credited": pb.Money()}, ["credited.currency_code"]),
            ({"credited": pb.Money(currency_code="COIN", amount_minor=-1)}, ["credited.amount_minor"]),
            ({"credit_time": Timestamp(nanos=-7)}, ["credit_time"]),
            ({"failure_reason": "f" * 257}, ["failure_reason"]),
            ({"failure_reason": "\0"}, ["failure_reason"]),
            ({"event_sequence": -1}, ["event_sequence"]),
        ],
    )
    def test_a_malformed_field_is_named(self, changes: dict[str, Any], fields: list[str]) -> None:
        assert wrong_fields(requests.acknowledgement, acknowledgement(**changes)) == fields


@pytest.mark.parametrize(
    ("parse", "request_", "fields"),
    [
        (requests.contribution_name, pb.GetContributionRequest(), ["name"]),
        (requests.contribution_name, pb.GetContributionRequest(name=SPIN), ["name"]),
        (requests.contribution_name, pb.GetContributionRequest(name=f"contributions/{SPIN}x"), ["name"]),
        (
            requests.contribution_names,
            pb.BatchGetContributionsRequest(names=[f"contributions/{SPIN}", "x", ""]),
            ["names[1]", "names[2]"],
        ),
        (
            requests.contribution_names,
            pb.BatchGetContributionsRequest(names=[f"contributions/{SPIN}"] * 501),
            ["names"],
        ),
        (requests.win_name, pb.GetWinRequest(name="pools/mini"), ["name"]),
        (requests.pool_name, pb.GetPoolRequest(name="pools/"), ["name"]),
        (requests.pool_name, pb.GetPoolRequest(name="pools/1a"), ["name"]),
        (requests.pool_name, pb.GetPoolRequest(name="pools/" + "a" * 33), ["name"]),
        (
            requests.contributions_query,
            pb.ListContributionsRequest(page_size=-1, page_token="?", start_time=Timestamp(nanos=-1)),
            ["operator_id", "start_time", "page_size", "page_token"],
        ),
        (
            requests.contributions_query,
            pb.ListContributionsRequest(
                operator_id="o", start_time=Timestamp(seconds=2), end_time=Timestamp(seconds=1)
            ),
            ["end_time"],
        ),
        (
            requests.wins_query,
            pb.ListWinsRequest(operator_id="a b", pool="mini", state=7, page_size=-5, page_token="AAAA"),  # type: ignore[arg-type]
            ["operator_id", "pool", "state", "page_size", "page_token"],
        ),
        (
            requests.pools_query,
            pb.ListPoolsRequest(operator_id="ü", currency_code="QQQ", page_size=-1, page_token="="),
            ["operator_id", "currency_code", "page_size", "page_token"],
        ),
        (
            requests.events_query,
            pb.ListWinEventsRequest(after_sequence=-1, page_size=-1, wait=Duration(seconds=31)),
            ["operator_id", "after_sequence", "page_size", "wait"],
        ),
        (
            requests.events_query,
            pb.ListWinEventsRequest(operator_id="o", wait=Duration(seconds=-1)),
            ["wait"],
        ),
        (
            requests.events_query,
            pb.ListWinEventsRequest(operator_id="o", wait=Duration(seconds=1, nanos=-1)),
            ["wait"],
        ),
        (
            requests.events_query,
            pb.ListWinEventsRequest(operator_id="o", wait=Duration(seconds=1, nanos=2_000_000_000)),
            ["wait"],
        ),
        (
            requests.watch_query,
            pb.WatchPoolsRequest(pools=["pools/mini", "mini"], operator_id="a b"),
            ["pools[1]", "operator_id"],
        ),
        (requests.watch_query, pb.WatchPoolsRequest(pools=["pools/mini"] * 1001), ["pools"]),
    ],
)
def test_a_malformed_question_is_refused_with_every_violation(
    parse: Callable[[Any], object], request_: object, fields: list[str]
) -> None:
    assert wrong_fields(parse, request_) == fields


def test_a_page_has_a_hundred_unless_asked_and_a_thousand_at_most() -> None:
    for asked, given_ in ((0, 100), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)):
        assert requests.pools_query(pb.ListPoolsRequest(page_size=asked)).page_size == given_


def test_a_wait_is_at_most_thirty_seconds() -> None:
    query = requests.events_query(pb.ListWinEventsRequest(operator_id="o", wait=Duration(seconds=30)))
    assert query.wait_s == 30

"""What is sent for a row, and what an answer says."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackpot_outbox import wire
from jackpot_outbox.rows import AcknowledgementRow, Answer, ContributionRow, Outcome, Setback, WinState
from protos.jackpot.v1 import jackpot_pb2 as pb

SPIN = uuid4()
ROW = ContributionRow(SPIN, "demo", "anna", "anna-coins", "COIN", 100, 1, "demo-slots")
Result = pb.BatchRecordContributionsResponse.Result
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def win(state: int = 1, **fields: object) -> pb.Win:
    known: dict[str, object] = {
        "name": f"pools/mini/wins/{SPIN}",
        "pool": "pools/mini",
        "tier": "MINI",
        "spin_id": str(SPIN),
        "operator_id": "demo",
        "state": state,
        "amount": pb.Money(currency_code="COIN", amount_minor=4_200),
        "event_sequence": 3,
    }
    return pb.Win(**(known | fields))  # type: ignore[arg-type]


def recorded(**fields: object) -> pb.BatchRecordContributionsResponse.Result:
    contribution = pb.Contribution(spin_id=str(SPIN), state=pb.Contribution.STATE_RECORDED)
    contribution.MergeFrom(pb.Contribution(**fields))  # type: ignore[arg-type]
    return Result(recorded=pb.RecordContributionResponse(contribution=contribution))


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_the_time_of_a_spin_is_sent_to_the_microsecond(moment: datetime) -> None:
    row = ContributionRow(SPIN, "demo", "", "", "COIN", 1, 1, "", occur_time=moment)
    sent = wire.contribution_request(row).occur_time
    assert EPOCH + timedelta(seconds=sent.seconds, microseconds=sent.nanos // 1000) == moment
    assert 0 <= sent.nanos < 10**9


def test_a_spin_without_a_time_is_sent_without_one() -> None:
    assert not wire.contribution_request(ROW).HasField("occur_time")


def test_only_a_credit_names_an_amount() -> None:
    for outcome in Outcome:
        row = AcknowledgementRow(SPIN, "pools/mini/wins/x", 3, "demo", outcome, "entry", "COIN", 100)
        request = wire.acknowledgement_request(row)
        assert request.HasField("credited") is (outcome is Outcome.CREDITED)
        assert (request.name, request.event_sequence) == ("pools/mini/wins/x", 3)
        assert int(request.outcome) == int(outcome)


def test_shares_are_kept_as_json_without_skipped_and_shadow_pools() -> None:
    shares = [
        pb.PoolShare(pool='pools/"quoted"', tier="MÄJOR", amount_micros=9_007_199_254_740_993),
        pb.PoolShare(pool="pools/skipped", skip_reason=pb.PoolShare.SKIP_REASON_PAUSED),
        pb.PoolShare(pool="pools/shadow", amount_micros=1, shadow=True),
        pb.PoolShare(pool="pools/full", tier="FULL", overflow_micros=5),
    ]
    answer = wire.contribution_result(ROW, recorded(shares=shares))
    assert isinstance(answer, Answer)
    assert json.loads(answer.shares_json) == [
        {"pool": 'pools/"quoted"', "tier": "MÄJOR", "amount_micros": 9_007_199_254_740_993},
        {"pool": "pools/full", "tier": "FULL", "amount_micros": 0},
    ]


def test_the_audit_head_is_kept_where_there_is_one() -> None:
    head = pb.AuditHead(chain=0, sequence=7, sha256=b"x" * 32)
    with_head = wire.contribution_result(ROW, recorded(audit_head=head))
    without = wire.contribution_result(ROW, recorded())
    assert isinstance(with_head, Answer)
    assert isinstance(without, Answer)
    assert (with_head.audit_chain, with_head.audit_sequence, with_head.audit_sha256) == (0, 7, b"x" * 32)
    assert (without.audit_chain, without.audit_sequence, without.audit_sha256) == (None, None, None)


def test_wins_of_shadow_pools_and_of_unknown_states_are_not_the_wallets() -> None:
    answer = wire.contribution_result(ROW, recorded(wins=[win(), win(shadow=True), win(0), win(9)]))
    assert isinstance(answer, Answer)
    (notice,) = answer.wins
    assert (notice.spin_id, notice.amount_minor, notice.state) == (SPIN, 4_200, WinState.PAYABLE)


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_only_four_statuses_park_a_row(code: grpc.StatusCode) -> None:
    error = pb.ItemError(code=code.value[0], reason="WHY", message="m", fields=["wager", "user_id"])
    setback = wire.contribution_result(ROW, Result(error=error))
    assert isinstance(setback, Setback)
    assert (setback.reason, setback.message) == ("WHY", "m (wager, user_id)")
    assert setback.parked is (
        code.name in ("INVALID_ARGUMENT", "ALREADY_EXISTS", "NOT_FOUND", "FAILED_PRECONDITION")
    )


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_only_a_busy_server_is_asked_again_without_a_growing_pause(code: grpc.StatusCode) -> None:
    setback = wire.setback(ROW, code, "WHY", "m")
    busy = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED")
    assert (setback.retry_after_s is not None) is (code.name in busy)


@pytest.mark.parametrize("result", [Result(), Result(error=pb.ItemError(code=99))], ids=["none", "unknown"])
def test_a_result_that_says_nothing_is_tried_again(
    result: pb.BatchRecordContributionsResponse.Result,
) -> None:
    setback = wire.contribution_result(ROW, result)
    assert isinstance(setback, Setback)
    assert not setback.parked


@pytest.mark.parametrize(
    "fields",
    [
        {"spin_id": str(UUID(int=5))},
        {"wins": [win(spin_id="not a uuid")]},
        {"record_time": {"seconds": 10**15}},
    ],
    ids=["another spin", "malformed win", "time out of range"],
)
def test_an_answer_that_is_not_understood_books_nothing_and_is_asked_for_again(
    fields: dict[str, object],
) -> None:
    setback = wire.contribution_result(ROW, recorded(**fields))
    assert isinstance(setback, Setback)
    assert setback.reason == wire.NOT_UNDERSTOOD
    assert not setback.parked


@pytest.mark.parametrize(
    ("sequences", "last", "has_gap"),
    [([], 3, False), ([4, 5], 5, False), ([4, 6, 7], 4, True), ([5], 3, True), ([3, 4], 3, True)],
)
def test_a_page_ends_before_a_missing_event(sequences: list[int], last: int, has_gap: bool) -> None:
    events = [pb.WinEvent(sequence=sequence, win=win(event_sequence=sequence)) for sequence in sequences]
    page = wire.win_page("demo", 3, pb.ListWinEventsResponse(events=events, last_sequence=9))
    assert (page.last_sequence, page.has_gap) == (last, has_gap)
    assert [notice.event_sequence for notice in page.wins] == list(range(4, last + 1))

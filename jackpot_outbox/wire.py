"""protobuf ↔ rows: what is sent, and what the answers say. Pure."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from jackpot_outbox.rows import (
    AcknowledgementRow,
    Answer,
    ContributionRow,
    HourTotal,
    Outcome,
    RecordedContribution,
    Row,
    Setback,
    VoidRow,
    WinNotice,
    WinPage,
    WinState,
)
from protos.jackpot.v1 import jackpot_pb2 as pb

# Refused for good: the same request will be refused again. Everything else is tried again.
FINAL_CODES = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
)

# The reason of an answer that the contract does not know.
NOT_UNDERSTOOD = "ANSWER_NOT_UNDERSTOOD"

# The world's trouble, not the item's: soon over, so not worth a growing pause.
BUSY_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)
_BUSY_RETRY_S = 0.5

_WIN_STATES = frozenset(map(int, WinState))
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY = 86_400


def contribution_request(row: ContributionRow) -> pb.RecordContributionRequest:
    """The request that `row` stands for."""
    return pb.RecordContributionRequest(
        spin_id=str(row.spin_id),
        operator_id=row.operator_id,
        user_id=row.user_id,
        wallet_id=row.wallet_id,
        wager=pb.Money(currency_code=row.currency_code, amount_minor=row.wager_minor),
        game_category=row.game_category,  # type: ignore[arg-type]
        game_id=row.game_id,
        provider_name=row.provider_name,
        provider_round_id=row.provider_round_id,
        stake_kind=row.stake_kind,  # type: ignore[arg-type]
        country_code=row.country_code,
        client_seed=row.client_seed,
        triggered_tiers=row.triggered_tiers,
        occur_time=timestamp(row.occur_time),
    )


def acknowledgement_request(row: AcknowledgementRow) -> pb.AcknowledgeWinRequest:
    """The request that `row` stands for."""
    request = pb.AcknowledgeWinRequest(
        name=row.win,
        outcome=row.outcome,  # type: ignore[arg-type]
        wallet_entry_id=row.wallet_entry_id,
        credit_time=timestamp(row.credit_time),
        failure_reason=row.failure_reason,
        event_sequence=row.event_sequence,
    )
    if row.outcome == Outcome.CREDITED:
        request.credited.currency_code = row.currency_code
        request.credited.amount_minor = row.credited_minor
    return request


def void_request(row: VoidRow) -> pb.VoidContributionRequest:
    """The request that `row` stands for."""
    return pb.VoidContributionRequest(
        spin_id=str(row.spin_id),
        operator_id=row.operator_id,
        reason=row.reason,
        credited_wins=row.credited_wins,
    )


def contribution_result(
    row: ContributionRow, result: pb.BatchRecordContributionsResponse.Result
) -> Answer | Setback:
    """What one item's result says about its row."""
    if result.HasField("recorded"):
        try:
            return _contribution_answer(row, result.recorded.contribution)
        except (ValueError, OverflowError) as problem:
            return setback(row, grpc.StatusCode.UNKNOWN, NOT_UNDERSTOOD, str(problem))
    error = result.error
    code = _CODES.get(error.code, grpc.StatusCode.UNKNOWN)
    message = error.message
    if error.fields:
        message = f"{message} ({', '.join(error.fields)})"
    return setback(row, code, error.reason, message)


def setback(row: Row, code: grpc.StatusCode, reason: str, message: str) -> Setback:
    """What an error makes of `row`: parked if final, tried soon if the server was busy, else backed off."""
    retry_after_s = _BUSY_RETRY_S if code in BUSY_CODES else None
    return Setback(row, reason or code.name, message, code in FINAL_CODES, retry_after_s)


def acknowledgement_answer(row: AcknowledgementRow, response: pb.AcknowledgeWinResponse) -> Answer:
    """The win as it is after the acknowledgement."""
    return Answer(row, wins=_notices([response.win]))


def void_answer(row: VoidRow, response: pb.VoidContributionResponse) -> Answer:
    """The spin's wins as they are after the void."""
    return Answer(row, wins=_notices(response.contribution.wins))


def hour_total(hour: pb.GetContributionTotalsResponse.Hour) -> HourTotal:
    """One hour of a jackpot server's totals."""
    return HourTotal(
        _time(hour.start_time),
        hour.currency_code,
        hour.count,
        hour.wager_minor,
        int(hour.contributed_micros or "0"),
    )


def recorded_contribution(contribution: pb.Contribution) -> RecordedContribution:
    """A contribution of a jackpot server's list."""
    return RecordedContribution(
        UUID(contribution.spin_id),
        contribution.wager.currency_code,
        contribution.wager.amount_minor,
        sum(
            share.amount_micros + share.reserve_micros + share.overflow_micros
            for share in contribution.shares
            if not share.shadow
        ),
        _time(contribution.record_time),
    )


def win_notice(win: pb.Win) -> WinNotice | None:
    """A win for the wallet; None for one that is never paid (of a shadow pool) or not understood."""
    if win.shadow or win.state not in _WIN_STATES:
        return None
    return WinNotice(
        win.name,
        UUID(win.spin_id),
        win.operator_id,
        win.user_id,
        win.wallet_id,
        win.pool,
        win.tier,
        win.amount.currency_code,
        win.amount.amount_minor,
        WinState(win.state),
        win.spin_voided,
        win.event_sequence,
    )


def win_page(operator_id: str, after_sequence: int, response: pb.ListWinEventsResponse) -> WinPage:
    """The events that follow `after_sequence` without a gap; the wallet's cursor must not pass one."""
    wins: list[pb.Win] = []
    last_sequence = after_sequence
    for event in response.events:
        if event.sequence != last_sequence + 1:
            break
        last_sequence = event.sequence
        wins.append(event.win)
    return WinPage(operator_id, _notices(wins), last_sequence, has_gap=len(wins) < len(response.events))


def _notices(wins: Iterable[pb.Win]) -> tuple[WinNotice, ...]:
    return tuple(notice for win in wins if (notice := win_notice(win)) is not None)


def _contribution_answer(row: ContributionRow, contribution: pb.Contribution) -> Answer | Setback:
    if contribution.spin_id.lower() != str(row.spin_id):
        return setback(row, grpc.StatusCode.UNKNOWN, NOT_UNDERSTOOD, "The answer names another spin.")
    has_head = contribution.HasField("audit_head")
    head = contribution.audit_head
    return Answer(
        row,
        state=contribution.state,
        shares_json=_shares_json(contribution.shares),
        record_time=_time(contribution.record_time) if contribution.HasField("record_time") else None,
        audit_chain=head.chain if has_head else None,
        audit_sequence=head.sequence if has_head else None,
        audit_sha256=head.sha256 if has_head else None,
        wins=_notices(contribution.wins) if contribution.wins else (),
    )


def _shares_json(shares: Iterable[pb.PoolShare]) -> str:
    """What a player put into pools: without the skipped pools and those that never pay."""
    parts = [
        f"{_share_head(share.pool, share.tier)}{share.amount_micros}}}"
        for share in shares
        if not share.skip_reason and not share.shadow
    ]
    return f"[{', '.join(parts)}]"


@lru_cache(maxsize=1024)
def _share_head(pool: str, tier: str) -> str:
    return f'{{"pool": {json.dumps(pool)}, "tier": {json.dumps(tier)}, "amount_micros": '


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment on the wire, to the microsecond."""
    if moment is None:
        return None
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * _SECONDS_PER_DAY + since.seconds, nanos=since.microseconds * 1000)


def _time(timestamp: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)

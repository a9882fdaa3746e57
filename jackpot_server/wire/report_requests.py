"""Requests for meters and reports to queries. Each raises INVALID_FIELDS with all of its violations."""

from datetime import UTC, datetime, timedelta
from typing import Final

from jackpot_server.queries import HoursQuery, OperatorQuery
from jackpot_server.wire.checks import Checks
from protos.jackpot.v1 import jackpot_pb2 as pb

# A report reads every contribution of its period.
LONGEST_PERIOD: Final = timedelta(days=32)


def meters(request: pb.GetPoolMetersRequest) -> str:
    """The pool's id."""
    check = Checks()
    pool_id = check.pool_name("name", request.name)
    check.done()
    return pool_id


def liability(request: pb.GetLiabilityReportRequest) -> datetime:
    """The moment; now, if none is given."""
    check = Checks()
    at_time = check.time("at_time", request.at_time, request.HasField("at_time"))
    check.done()
    return at_time or datetime.now(UTC)


def operator(request: pb.GetOperatorReportRequest) -> OperatorQuery:
    check = Checks()
    operator_id = check.opaque_id("operator_id", request.operator_id, optional=True)
    start, end = _period(check, request)
    check.done()
    return OperatorQuery(operator_id, start, end)


def hours(request: pb.GetContributionTotalsRequest) -> HoursQuery:
    check = Checks()
    operator_id = check.opaque_id("operator_id", request.operator_id)
    start, end = _period(check, request)
    check.done()
    return HoursQuery(operator_id, start, end)


def _period(
    check: Checks, request: pb.GetOperatorReportRequest | pb.GetContributionTotalsRequest
) -> tuple[datetime, datetime]:
    """Both must be given: what is read grows with it."""
    times = []
    for field in ("start_time", "end_time"):
        time = check.time(field, getattr(request, field), request.HasField(field))
        if not request.HasField(field):
            check.wrong(field, "must be given")
        times.append(time)
    start, end = times
    check.period(start, end)
    if start is None or end is None:
        return datetime.now(UTC), datetime.now(UTC)
    if end - start > LONGEST_PERIOD:
        check.wrong("end_time", f"must be at most {LONGEST_PERIOD.days} days after start_time")
    return start, end

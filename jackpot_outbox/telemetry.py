"""What operators see of the outbox. Labels come from closed sets."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from uuid import UUID

from prometheus_client import Counter, Gauge, Histogram

from jackpot_outbox.rows import Answer, ContributionRow

OPEN_ROWS = Gauge(
    "jackpot_outbox_open_rows", "Rows that the jackpot server has not answered, parked ones left out"
)
OLDEST_SECONDS = Gauge("jackpot_outbox_oldest_seconds", "Age of the oldest open row")
PARKED_ROWS = Gauge("jackpot_outbox_parked_rows", "Rows refused for good that wait for a person")
BREAKER_OPEN = Gauge(
    "jackpot_outbox_breaker_open", "1 while calls are held back because the last ones failed"
)
SENT = Counter("jackpot_outbox_sent", "Rows sent to the jackpot server, repeats included", ["kind"])
ANSWERED = Counter("jackpot_outbox_answered", "Rows by what the jackpot server said", ["kind", "outcome"])
DROPPED = Counter(
    "jackpot_outbox_offers_dropped", "Rows left to the relay because dispatch was full or held back"
)
FOREIGN_WINS = Counter(
    "jackpot_outbox_foreign_wins", "Wins skipped because their spin is not in this database"
)
EVENT_GAPS = Counter("jackpot_outbox_event_gaps", "Answers of ListWinEvents in which a sequence was missing")
CALL_ROWS = Histogram(
    "jackpot_outbox_call_rows",
    "Contributions in one call of BatchRecordContributions",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
LAG_SECONDS = Histogram(
    "jackpot_outbox_lag_seconds",
    "From a spin's commit to its jackpot booked in the same database",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600),
)

# The names that gRPC clients everywhere use.
_LABELS = ("grpc_type", "grpc_service", "grpc_method")
CLIENT_STARTED = Counter("grpc_client_started_total", "Calls that were begun", _LABELS)
CLIENT_HANDLED = Counter("grpc_client_handled_total", "Calls that have ended", (*_LABELS, "grpc_code"))
CLIENT_SECONDS = Histogram(
    "grpc_client_handling_seconds",
    "From a call's beginning to its answer",
    _LABELS,
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)


def observe_lag(answers: Iterable[Answer], ended_spins: AbstractSet[UUID]) -> None:
    """Of answers that have just been booked; `ended_spins` are those that were not booked before."""
    now = datetime.now(UTC)
    for answer in answers:
        row = answer.row
        if isinstance(row, ContributionRow) and row.occur_time and row.spin_id in ended_spins:
            LAG_SECONDS.observe((now - row.occur_time).total_seconds())

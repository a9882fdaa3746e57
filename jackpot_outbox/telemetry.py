"""What operators see of the outbox. Labels come from closed sets."""

from prometheus_client import Counter, Gauge

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

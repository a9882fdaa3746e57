"""What operators see of the jackpot server besides its calls. Labels come from closed sets."""

from prometheus_client import Counter, Gauge, Histogram

CONTRIBUTIONS = Counter("jackpot_contributions_total", "Contributions answered.", ["outcome"])
RECORDED, REPLAYED, REFUSED = (CONTRIBUTIONS.labels(word) for word in ("recorded", "replayed", "refused"))
VOIDED = Counter("jackpot_voids_total", "Contributions taken back.")
WINS = Counter("jackpot_wins_total", "Wins decided.")
CALL_ENTRIES = Histogram(
    "jackpot_call_entries",
    "Contributions in one call of BatchRecordContributions.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
BATCH_COMMANDS = Histogram(
    "jackpot_batch_commands",
    "Commands that shared a transaction.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
BATCH_SECONDS = Histogram(
    "jackpot_batch_seconds",
    "From a batch's beginning to its commit.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
WAITING = Gauge("jackpot_commands_waiting", "Commands that no batch has taken yet.")
EVENT_WAITERS = Gauge("jackpot_event_waiters", "Calls of ListWinEvents that wait for an event.")
PAYABLE_WINS = Gauge("jackpot_wins_payable", "Wins that wallets have not been credited with yet.")
OLDEST_PAYABLE = Gauge("jackpot_wins_payable_oldest_seconds", "Since when the oldest of them is payable.")
HELD_WINS = Gauge("jackpot_wins_held", "Wins that wait for people.")
OLDEST_HELD = Gauge("jackpot_wins_held_oldest_seconds", "Since when the oldest of them is held.")

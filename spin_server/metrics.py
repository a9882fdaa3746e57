"""What operators see of the spin server besides its calls. Labels come from closed sets."""

from prometheus_client import Counter, Histogram

SPINS_SETTLED = Counter("spin_server_spins_settled", "Spins booked for the first time", ["game_category"])
SPINS_REPLAYED = Counter("spin_server_spins_replayed", "Spins answered as the first time")
SPINS_VOIDED = Counter("spin_server_spins_voided", "Spins taken back")
BATCH_COMMANDS = Histogram(
    "spin_server_batch_commands",
    "Commands that shared a transaction",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
BATCH_SECONDS = Histogram(
    "spin_server_batch_seconds",
    "From a batch's beginning to its commit",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
SPIN_SECONDS = Histogram(
    "spin_server_spin_seconds",
    "From a spin's arrival to its commit, as a caller waits for it; the jackpot's part left out",
    ["game_category"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
JACKPOT_WAIT_SECONDS = Histogram(
    "spin_server_jackpot_wait_seconds",
    "In sync mode: the jackpot's part of a spin's answer, after its commit",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1),
)

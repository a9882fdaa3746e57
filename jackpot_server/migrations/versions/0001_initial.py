"""Pools, contributions, the ledger, wins, their events and acknowledgements."""

from pathlib import Path

from service_kit.migrate import execute_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute_sql(Path(__file__).with_suffix(".sql"))

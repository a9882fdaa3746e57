"""Wallets, spins, wallet entries, wallet requests, and the jackpot outbox's own tables."""

from pathlib import Path

import jackpot_outbox
from service_kit.migrate import execute_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OUTBOX_SCHEMA = Path(jackpot_outbox.__file__).with_name("schema.sql")


def upgrade() -> None:
    """The outbox first: the spins' file grants rights on its tables."""
    execute_sql(OUTBOX_SCHEMA, Path(__file__).with_suffix(".sql"))

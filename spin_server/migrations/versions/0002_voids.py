"""Spins that are taken back."""

from pathlib import Path

import jackpot_outbox
from service_kit.migrate import execute_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OUTBOX_VOIDS = Path(jackpot_outbox.__file__).with_name("voids.sql")


def upgrade() -> None:
    """The outbox first: the spins' file grants rights on its tables."""
    execute_sql(OUTBOX_VOIDS, Path(__file__).with_suffix(".sql"))

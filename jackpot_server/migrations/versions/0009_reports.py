"""Meters and reports."""

from pathlib import Path

from service_kit.migrate import execute_sql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute_sql(Path(__file__).with_suffix(".sql"))

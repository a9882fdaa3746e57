"""Cycles that nobody won say who ended them, and why."""

from pathlib import Path

from service_kit.migrate import execute_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute_sql(Path(__file__).with_suffix(".sql"))

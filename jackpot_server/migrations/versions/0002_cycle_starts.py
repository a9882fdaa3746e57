"""A win keeps what its cycle opened with."""

from pathlib import Path

from service_kit.migrate import execute_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute_sql(Path(__file__).with_suffix(".sql"))

"""What a cycle opened with: its deadline, and the same of cycles that nobody won."""

from pathlib import Path

from service_kit.migrate import execute_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    execute_sql(Path(__file__).with_suffix(".sql"))

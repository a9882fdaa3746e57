"""Alembic's entry point; the connection and its transaction come from `service_kit.migrate.upgrade`."""

from service_kit.migrate import run_in_context

run_in_context()

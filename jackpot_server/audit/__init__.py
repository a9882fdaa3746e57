"""The audit (PR-23): everything is derived again from the tables, with a tolerance of zero."""

"""Real parts for a laptop: PostgreSQL, Valkey and both servers, for `make run`, tests and benchmarks.

No product code: the servers are started as processes and never imported.
"""

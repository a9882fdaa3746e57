"""Processes of the benchmarks that are talked to in lines of JSON."""

import json
import os
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

LINE_LIMIT = 2**24


@asynccontextmanager
async def child(*command: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """A Python module as a process with pipes, killed at the end."""
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])} | dict(environment or {})
    process = await create_subprocess_exec(
        sys.executable, "-m", *command, stdin=PIPE, stdout=PIPE, env=variables, limit=LINE_LIMIT
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def line_of(process: Process) -> Any:
    """The next line of its output, decoded."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "a process of the benchmark ended"
    return json.loads(line)


def tell(process: Process, message: Mapping[str, object]) -> None:
    """Sends it a line."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")

"""Runs the project's commands as a person would, on a wide terminal without colours."""

import asyncio
import os
import sys

from tests.support.stack import ROOT


async def run(*arguments: str, **settings: str) -> tuple[int, str]:
    """`python -m …` with these variables: its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()

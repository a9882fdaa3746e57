"""Where a server's processor time goes: stacks of its Python code, sampled from outside by py-spy, by stage.

A sample belongs to the innermost frame that a stage knows. Samples are only taken of a thread that runs
Python code; what gRPC's own threads do meanwhile is in the process's total alone.
"""

import asyncio
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections import Counter
from pathlib import Path
from typing import Final

RATE: Final = 250

# Parts of file names, the first match counts. What is not here belongs to whoever called it.
STAGES: Final = (
    ("metrics", ("prometheus_client/",)),
    ("logs", ("structlog/", "logging/", "narration.py", "service_kit/seconds.py")),
    ("cache", ("redis/", "jackpot_server/cache.py", "jackpot_server/snapshots.py", "async_timeout")),
    ("database driver", ("asyncpg/",)),
    ("request to command", ("wire/requests.py", "wire/checks.py", "service_kit/checks.py")),
    ("answer to message", ("wire/answers.py", "wire/results.py")),
    ("audit record", ("evidence.py", "chains.py")),
    ("decision", ("/domain/",)),
    ("rows to arrays", ("/store.py", "recall.py", "/rows.py")),
    ("dispatch and booking", ("jackpot_outbox/",)),
    ("handler", ("service.py", "service_kit/interceptors.py", "service_kit/gate.py")),
    ("group commit", ("service_kit/group_commit.py", "service_kit/batch_writer.py")),
    ("transaction", ("transaction.py", "committer.py", "seeds.py", "app.py")),
    ("gRPC and event loop", ("grpc/", "asyncio/")),
)


async def sample(pid: int, seconds: float) -> dict[str, float]:
    """The share of each stage in the Python code of a process, while `seconds` pass. Empty without py-spy."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stacks"
        spy = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("py-spy")),
            *("record", "--pid", str(pid), "--duration", str(max(1, round(seconds))), "--rate", str(RATE)),
            *("--gil", "--function", "--format", "raw", "--output", str(file)),
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        if await spy.wait() or not file.exists():
            return {}
        return shares(file.read_text())


def shares(stacks: str) -> dict[str, float]:
    """The share of each stage in `frame;frame;frame count` lines, the outermost frame first."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[stage_of(stack.split(";"))] += int(count)
    return {stage: count / counts.total() for stage, count in counts.most_common()}


def stage_of(frames: list[str]) -> str:
    """The stage of one stack."""
    for frame in reversed(frames):
        for stage, parts in STAGES:
            if any(part in frame for part in parts):
                return stage
    return "everything else"

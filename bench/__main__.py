"""`python -m bench [B11 …]`: runs the benchmarks that are named, or all; exits with 1 if money is lost."""

import asyncio
import sys

from bench import outage

BENCHMARKS = {"B11": outage.run}


def main(names: list[str]) -> int:
    """Runs them one after the other."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"not known: {' '.join(unknown)}; there are: {' '.join(BENCHMARKS)}")
        return 2
    clean = [asyncio.run(BENCHMARKS[name]()) for name in names or BENCHMARKS]
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What a Prometheus endpoint says, and what happened between two looks at it."""

import asyncio
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

READ_TIMEOUT_S = 1.0

Series: TypeAlias = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
"""Samples by name and labels."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of a path, between two looks: how many, and quantiles as far as the buckets tell (None: none)."""

    per_second: float
    p50_ms: float | None
    p99_ms: float | None


async def scrape(url: str) -> Series | None:
    """All samples of an endpoint; None if it does not answer."""
    if not url:
        return None
    try:
        text = await asyncio.to_thread(_read, url)
    except (OSError, ValueError):
        return None
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _read(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no URL of metrics")
    with urllib.request.urlopen(url, timeout=READ_TIMEOUT_S) as answer:  # noqa: S310 (checked above)
        text: str = answer.read().decode()
    return text


def growth(before: Series | None, now: Series | None, name: str, labels: Mapping[str, str]) -> float:
    """By how much the series of a name that have these labels grew, all together."""
    return sum(grown for _, grown in _growths(before, now, name, labels))


def gauge(series: Series | None, name: str) -> float | None:
    """The value of a series without labels; None if it is not there."""
    return None if series is None else series.get((name, frozenset()))


def mean(before: Series | None, now: Series | None, name: str) -> float | None:
    """The mean of what a histogram counted between two looks; None if that is nothing."""
    count = growth(before, now, f"{name}_count", {})
    return growth(before, now, f"{name}_sum", {}) / count if count else None


def times(
    before: Series | None, now: Series | None, name: str, labels: Mapping[str, str], elapsed_s: float
) -> Times:
    """What a histogram of seconds counted between two looks that lie `elapsed_s` apart."""
    buckets: dict[float, float] = defaultdict(float)
    for its, grown in _growths(before, now, f"{name}_bucket", labels):
        buckets[float(its["le"])] += grown
    count = max(buckets.values(), default=0.0)
    if not count or not elapsed_s:
        return Times(0.0, None, None)
    p50, p99 = (quantile(buckets, share) * 1000 for share in (0.5, 0.99))
    return Times(count / elapsed_s, p50, p99)


def _growths(
    before: Series | None, now: Series | None, name: str, labels: Mapping[str, str]
) -> Iterator[tuple[Mapping[str, str], float]]:
    """The labels and the growth of each series; a counter that fell began anew with its process."""
    for (sample, its), value in (now or {}).items():
        if sample == name and all(pair in its for pair in labels.items()):
            then = (before or {}).get((sample, its), 0.0)
            yield dict(its), value - then if value >= then else value


def quantile(cumulative: Mapping[float, float], share: float) -> float:
    """A quantile from cumulative buckets (upper limit → count), linear within a bucket.

    In the last bucket, which has no upper limit, it is the lower one.
    """
    wanted = share * max(cumulative.values())
    lower, below = 0.0, 0.0
    for limit in sorted(cumulative):
        count = cumulative[limit]
        if count >= wanted:
            if limit == float("inf"):
                return lower
            inside = count - below
            return lower + (limit - lower) * ((wanted - below) / inside if inside else 1.0)
        lower, below = limit, count
    return lower

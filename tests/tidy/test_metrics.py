"""docs/metrics.md names every metric, with its type and labels, and no other."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

import jackpot_outbox
import jackpot_server
import service_kit
import spin_server

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
PACKAGES = (service_kit, jackpot_outbox, jackpot_server, spin_server)
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \|\s*(.*?)\s*\| \S", re.MULTILINE)
# Said once, with the counters of started calls.
SAME = {"the same and `grpc_code`": ("grpc_type", "grpc_service", "grpc_method", "grpc_code")}


def registered() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Our metrics by name: type and labels."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", ".env")) and "migrations" not in module.name:
                importlib.import_module(module.name)
    metrics = {
        collector for collector in REGISTRY._collector_to_names if isinstance(collector, MetricWrapperBase)
    }
    return {metric._name: (str(metric._type), tuple(metric._labelnames)) for metric in metrics}


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    return {
        name: (kind, SAME.get(labels) or tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text())
    }


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    assert documented() == registered()


def test_every_metric_that_the_page_speaks_of_is_in_its_tables() -> None:
    spoken_of = set(re.findall(r"`((?:spin_server|jackpot|grpc)_[a-z_]+)", PAGE.read_text()))
    known = set(documented())
    labels = {label for _, names in documented().values() for label in names}
    assert {name.removesuffix("_total") for name in spoken_of} - known - labels == set()


@pytest.mark.parametrize("name", sorted(documented()))
def test_names_say_their_unit(name: str) -> None:
    """A time is in seconds, and says so."""
    assert not re.search(r"_(ms|millis|micros|minutes)$", name)

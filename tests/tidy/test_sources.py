"""What must not stand in any file of the project."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
# In pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])/(?:"
    + "|".join(["wo" + "rk", "fa" + "rm", "ro" + "ot", "ho" + "me", "Us" + "ers"])
    + r")/\w"
)


def texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        file = ROOT / name
        if file.is_file():
            yield name, file.read_text(errors="replace")


def package_hosts() -> set[str]:
    """Where this machine's pip gets packages from."""
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    named = re.findall(r"https?://[^\s'\"]+", pip.stdout + " " + os.environ.get("PIP_INDEX_URL", ""))
    hosts = {urlsplit(url).hostname or "" for url in named}
    return {host for host in hosts if host not in {"", "localhost", "127.0.0.1", "pypi.org"}}


def test_no_file_names_a_path_of_a_machine() -> None:
    found = [f"{name}: {match[0]}" for name, text in texts() if (match := MACHINE_PATH.search(text))]
    assert found == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = package_hosts()
    assert [name for name, text in texts() if any(host in text for host in hosts)] == []


def test_a_path_of_a_machine_would_be_found() -> None:
    assert MACHINE_PATH.search("see /" + "wo" + "rk/main")
    assert not MACHINE_PATH.search("docs/" + "wo" + "rk/main")

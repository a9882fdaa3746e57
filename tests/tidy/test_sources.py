"""What must not stand in any file of the project."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
# In pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])/(?:"
    + "|".join(["wo" + "rk", "fa" + "rm", "ro" + "ot", "ho" + "me", "Us" + "ers"])
    + r")/\w"
)

# A registry on loopback has the name that everything has there.
LOOPBACK = {"localhost", "127.0.0.1"}


def texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        file = ROOT / name
        if file.is_file():
            yield name, file.read_text(errors="replace")


def package_hosts() -> set[str]:
    """Where this machine's pip and npm get packages from."""
    said = [os.environ.get("PIP_INDEX_URL", "")]
    for command in ([sys.executable, "-m", "pip", "config", "list"], ["npm", "config", "get", "registry"]):
        with suppress(FileNotFoundError):
            said.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s'\"]+", " ".join(said))}
    return {host for host in hosts if host and host not in LOOPBACK}


def test_no_file_names_a_path_of_a_machine() -> None:
    found = [f"{name}: {match[0]}" for name, text in texts() if (match := MACHINE_PATH.search(text))]
    assert found == []


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = package_hosts()
    assert [name for name, text in texts() if any(host in text for host in hosts)] == []


def test_a_path_of_a_machine_would_be_found() -> None:
    assert MACHINE_PATH.search("see /" + "wo" + "rk/main")
    assert not MACHINE_PATH.search("docs/" + "wo" + "rk/main")

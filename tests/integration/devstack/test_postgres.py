"""The embedded PostgreSQL: durable, restartable after a kill, ended with its parent, for root too."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from devstack import postgres
from devstack.postgres import Cluster, find_binaries
from devstack.processes import StartError
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "postgres", password="p@ss:word/")
    cluster.start()
    yield cluster
    cluster.stop()


def is_alive(pid: int) -> bool:
    try:
        # A zombie has ended, only nobody has asked for its exit code yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_what_was_committed_survives_a_kill_of_the_whole_server(cluster: Cluster) -> None:
    connection = await asyncpg.connect(cluster.dsn())
    await connection.execute("CREATE TABLE kept (number integer); INSERT INTO kept VALUES (7)")
    assert await connection.fetchval("SHOW fsync") == "on"
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    cluster.kill()
    connection.terminate()
    cluster.start()
    connection = await asyncpg.connect(cluster.dsn())
    assert await connection.fetchval("SELECT number FROM kept") == 7
    await connection.close()


async def test_a_wrong_password_is_refused(cluster: Cluster) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(cluster.dsn(password="guess"))


async def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from devstack.postgres import Cluster\n"
        "cluster = Cluster(Path(sys.argv[1]), password='x'); cluster.start()\n"
        "print(cluster.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    server = int(parent.stdout.readline())
    parent.stdout.close()
    assert is_alive(server)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    await eventually(lambda: not is_alive(server))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a disguise")
@pytest.mark.parametrize(
    "disguise", [postgres.IN_A_NAMESPACE, postgres.AS_NOBODY], ids=["namespace", "nobody"]
)
async def test_root_starts_it_below_a_folder_of_roots_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disguise: postgres.Disguise
) -> None:
    if subprocess.run([*disguise.prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this system does not allow it")
    monkeypatch.setattr(postgres, "disguise_of_root", lambda: disguise)
    tmp_path.chmod(0o700)
    cluster = Cluster(tmp_path / "postgres", password="x")
    cluster.start()
    connection = await asyncpg.connect(cluster.dsn())
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    cluster.stop()


def test_a_wrong_pg_bin_is_an_error_and_not_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="PG_BIN"):
        find_binaries({"PG_BIN": str(tmp_path)})


def test_an_interrupted_first_start_leaves_no_half_made_folder(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    (folder / "initdb.making").mkdir(parents=True)
    (folder / "initdb.making" / "PG_VERSION").write_text("half")
    cluster = Cluster(folder, password="x")
    cluster.start()
    cluster.stop()
    assert sorted(path.name for path in folder.iterdir()) == [f"data-{cluster.version}", "postgres.log"]


def test_a_server_that_cannot_start_says_why(tmp_path: Path, cluster: Cluster) -> None:
    second = Cluster(tmp_path / "second", password="x", port=cluster.port)
    with pytest.raises(StartError, match="Address already in use"):
        second.start()

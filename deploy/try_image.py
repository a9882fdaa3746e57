"""Runs every part of a built image against a real PostgreSQL and Valkey, and says what it saw.

`python -m deploy.try_image IMAGE --root FOLDER --runroot FOLDER`, called by image.sh: the folders are
buildah's storage. The databases are set up as deploy/compose.yaml does it. Ends with status 0 only if every
step held.
"""

import argparse
import os
import secrets
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

import grpc

from deploy.built_image import Image, Part, Wrong, buildah, output_of
from devstack.postgres import Cluster
from devstack.processes import StartError, free_port
from devstack.valkey import Valkey
from protos.spin.v1 import spin_pb2, spin_pb2_grpc
from service_kit.healthcheck import health

PROJECT = Path(__file__).parents[1]
DEMO = PROJECT / "devstack/demo"
CALL_LIMIT_S = 10.0
USER_ID = 10001
COMPILERS = "gcc cc g++ clang make rustc"
COIN = "COIN"
POOLS_THERE, GAMES_THERE = "/etc/afterspin/jackpots.toml", "/etc/afterspin/games.toml"
INSERT_CONTRIBUTION = f"""
INSERT INTO jackpot_outbox (kind, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
                            game_category, game_id, provider_name, stake_kind)
VALUES (1, gen_random_uuid(), 'elsewhere', 'u', 'w', '{COIN}', 100, 1, 'slots', 'house', 1)"""


def say(what: str, value: str) -> None:
    sys.stdout.write(f"{what:<16} {value}\n")
    sys.stdout.flush()


def check_contents(image: Image) -> None:
    """Who it runs as, and what is not in it."""
    image.check(["sh", "-c", f'test "$(id -u)" = {USER_ID}'])
    image.check(["sh", "-c", f"for tool in {COMPILERS}; do ! command -v $tool || exit 1; done"])
    image.check(["sh", "-c", 'test -z "$(find /opt/afterspin -writable -not -type l)"'])
    image.check(["sh", "-c", "! ls /opt/afterspin/bin | grep pip"])
    say("contents", f"user {USER_ID}; no compiler; no pip beside the code, and nothing of it writable")


def check_size(image: Image, name: str) -> None:
    """What the image weighs, and what of it is ours, uncompressed."""
    ours = [file for file in (image.files() / "opt/afterspin").rglob("*") if not file.is_symlink()]
    own = sum(file.stat().st_size for file in ours if file.is_file()) / 1_000_000
    distributions = sum(file.name.endswith(".dist-info") for file in ours)
    total = buildah(image.store, "images", "--format", "{{.Size}}", name).strip()
    say("size", f"{total} with the base made here; of it {own:.0f} MB ours, {distributions} distributions")


class Trial:
    """The image's parts with a database server and a cache outside of it; `close` ends them all."""

    def __init__(self, image: Image, folder: Path) -> None:
        self.image = image
        self.folder = folder
        self.cluster = Cluster(folder / "postgres", password=secrets.token_hex(16))
        self.cache = Valkey(folder / "cache")
        self.parts: list[Part] = []
        self.spin_address, self.jackpot_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.passwords = {
            role: secrets.token_hex(16)
            for role in ("spins_owner", "spin_server", "jackpots_owner", "jackpot_server")
        }

    def open(self) -> None:
        """The servers outside, and the databases as deploy/postgres/init.sh makes them."""
        self.cluster.start()
        self.cache.start()
        env = {f"{role.upper()}_PASSWORD": password for role, password in self.passwords.items()}
        env |= {"POSTGRES_USER": "postgres", "PGPASSWORD": self.cluster.password}
        env |= {"PGHOST": "127.0.0.1", "PGPORT": str(self.cluster.port)}
        env["PATH"] = f"{self.cluster.binaries}{os.pathsep}{os.environ['PATH']}"
        output_of([str(PROJECT / "deploy/postgres/init.sh")], env)

    def close(self) -> None:
        """Ends what still runs."""
        for part in self.parts:
            part.kill()
        self.cluster.stop()
        self.cache.stop()

    def migrate_and_apply(self) -> None:
        """The commands that compose.yaml runs once, each with its owner's DSN alone."""
        begin = monotonic()
        spins, jackpots = self._dsn("spins", "spins_owner"), self._dsn("jackpots", "jackpots_owner")
        owner = {"JACKPOT_MIGRATE_DSN": jackpots}
        output_of(self.image.serve(["spin_server", "migrate"], {"SPIN_MIGRATE_DSN": spins}))
        output_of(self.image.serve(["jackpot_server", "migrate"], owner))
        pools = {DEMO / "jackpots.toml": POOLS_THERE}
        output_of(self.image.serve(["jackpot_server", "apply", POOLS_THERE], owner | self._root_key, pools))
        say("once", f"both migrations and apply, {monotonic() - begin:.1f} s")

    def start_servers(self) -> None:
        """Both servers, the jackpot server first, each until it says SERVING."""
        jackpot = self._root_key | {
            "JACKPOT_LISTEN": self.jackpot_address,
            "JACKPOT_DATABASE_DSN": self._dsn("jackpots", "jackpot_server"),
            "JACKPOT_CACHE_URL": self.cache.url,
            "JACKPOT_ENVIRONMENT": "demo",
            "JACKPOT_METRICS_PORT": "0",
        }
        spin = {
            "SPIN_LISTEN": self.spin_address,
            "SPIN_DATABASE_DSN": self._dsn("spins", "spin_server"),
            "SPIN_GAMES_FILE": GAMES_THERE,
            "SPIN_ENVIRONMENT": "demo",
            "SPIN_METRICS_PORT": "0",
            "OUTBOX_JACKPOT_ADDRESS": self.jackpot_address,
        }
        self._start_server("jackpot_server", self.jackpot_address, jackpot, {})
        self._start_server("spin_server", self.spin_address, spin, {DEMO / "games.toml": GAMES_THERE})

    def serve_a_foreign_wallet(self) -> None:
        """The outbox as a sidecar of a database with only its own tables: it sends what is inserted there."""
        self._sql("postgres", "CREATE DATABASE wallet")
        for file in ("schema.sql", "voids.sql"):
            self._sql("wallet", (PROJECT / "jackpot_outbox" / file).read_text())
        self._sql("wallet", INSERT_CONTRIBUTION)
        dsn = self.cluster.dsn("wallet")
        settings = {"OUTBOX_DATABASE_DSN": dsn, "OUTBOX_JACKPOT_ADDRESS": self.jackpot_address}
        part = self._start("jackpot_outbox", settings, {})
        answers = "SELECT count(*) FROM jackpot_results"
        answered = part.wait("has an answer", lambda: self._sql("wallet", answers) == "1")
        say(part.name, f"a contribution of another wallet answered {answered:.2f} s after the start")

    def stop(self) -> None:
        """SIGTERM to each part, in the order of a drain: sidecar, spin server, jackpot server."""
        for part in reversed(self.parts):
            memory = part.memory_mib
            say(part.name, f"{memory:.0f} MiB; ended {part.stop():.2f} s after SIGTERM, with status 0")

    def _start_server(
        self, name: str, address: str, env: Mapping[str, str], files: Mapping[Path, str]
    ) -> None:
        part = self._start(name, env, files)
        serving = part.wait("is SERVING", lambda: health(address) == "SERVING")
        # Both addresses: its defaults may be somebody else's on this machine.
        listening = {"SPIN_LISTEN": self.spin_address, "JACKPOT_LISTEN": self.jackpot_address}
        self.image.check(self.image.config["Healthcheck"]["Test"][1:], listening)
        say(name, f"SERVING after {serving:.2f} s; the image's own health check agrees")

    def _start(self, name: str, env: Mapping[str, str], files: Mapping[Path, str]) -> Part:
        part = Part(self.image, [name, "serve"], env, files, self.folder)
        self.parts.append(part)
        return part

    @property
    def _root_key(self) -> dict[str, str]:
        return {"JACKPOT_ROOT_KEY": self.cluster.password * 2}

    def _dsn(self, database: str, role: str) -> str:
        return self.cluster.dsn(database, role, self.passwords[role])

    def _sql(self, database: str, text: str) -> str:
        """Runs SQL as the superuser, in psql; the answer without its table."""
        psql = [str(self.cluster.binaries / "psql"), "--no-psqlrc", "-qAt", "--set=ON_ERROR_STOP=1"]
        return output_of([*psql, self.cluster.dsn(database), "--command", text]).strip()


def settle_a_spin(address: str) -> None:
    """A wallet, money, a spin, and its contribution, which the other server has recorded."""
    with grpc.insecure_channel(address) as channel:
        wallets, spins = spin_pb2_grpc.WalletServiceStub(channel), spin_pb2_grpc.SpinServiceStub(channel)
        created = wallets.CreateWallet(
            spin_pb2.CreateWalletRequest(
                request_id=str(uuid.uuid4()), wallet_id="w", operator_id="demo", user_id="u",
                currency_code=COIN,
            ),
            timeout=CALL_LIMIT_S,
        )  # fmt: skip
        wallets.Deposit(
            spin_pb2.DepositRequest(
                request_id=str(uuid.uuid4()),
                name=created.wallet.name,
                amount=spin_pb2.Money(currency_code=COIN, amount_minor=10_000),
            ),
            timeout=CALL_LIMIT_S,
        )
        settled = spins.SettleSpin(
            spin_pb2.SettleSpinRequest(
                spin_id=str(uuid.uuid4()), operator_id="demo", user_id="u", wallet_id="w",
                game_id="demo-slots", provider_name="house",
                wager=spin_pb2.Money(currency_code=COIN, amount_minor=100),
                payout=spin_pb2.Money(currency_code=COIN, amount_minor=40),
            ),
            timeout=CALL_LIMIT_S,
        )  # fmt: skip
        waited = spins.WaitForJackpot(
            spin_pb2.WaitForJackpotRequest(name=settled.spin.name), timeout=CALL_LIMIT_S
        )
    if waited.spin.jackpot_state != spin_pb2.Spin.JACKPOT_STATE_RECORDED:
        raise Wrong(f"the spin's jackpot is {waited.spin}")
    shares = ", ".join(f"{share.tier} {share.amount_micros}" for share in waited.spin.jackpot_shares)
    say("spin", f"settled in {settled.timing.total_micros / 1000:.1f} ms; recorded in micros: {shares}")


def try_image(name: str, store: tuple[str, ...], folder: Path) -> None:
    """Every part from the image, against a database and a cache outside of it. Raises Wrong."""
    image = Image.open(name, store)
    check_size(image, name)
    check_contents(image)
    begin = monotonic()
    image.check(["true"])
    say("buildah run", f"{monotonic() - begin:.2f} s of every time below are its own")
    trial = Trial(image, folder)
    try:
        trial.open()
        trial.migrate_and_apply()
        trial.start_servers()
        settle_a_spin(trial.spin_address)
        trial.serve_a_foreign_wallet()
        trial.stop()
    finally:
        trial.close()


def main() -> int:
    """Tries the image that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    parser.add_argument("--root", required=True)
    parser.add_argument("--runroot", required=True)
    given = parser.parse_args()
    store = ("--storage-driver=vfs", f"--root={given.root}", f"--runroot={given.runroot}")
    with tempfile.TemporaryDirectory(prefix="afterspin-try-") as folder:
        try:
            try_image(given.image, store, Path(folder))
        except (Wrong, StartError, grpc.RpcError) as wrong:
            sys.stderr.write(f"it does not hold: {wrong}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

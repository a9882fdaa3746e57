"""The root key as text, and seeds that are used only where they were committed."""

import base64
from pathlib import Path

import pytest

from jackpot_server.domain.draw import commitment
from jackpot_server.keys import RootKey, parse_root_key, read_root_key
from jackpot_server.seeds import CommittedSeeds
from service_kit.errors import StartRefused

SECRET = bytes(range(200, 232))
KEY = RootKey("root-1", SECRET)
POOLS = {1: "mini", 2: "major"}


@pytest.mark.parametrize(
    "text", [SECRET.hex(), SECRET.hex().upper() + "\n", base64.b64encode(SECRET).decode()]
)
def test_a_root_key_is_hexadecimal_or_base64(text: str) -> None:
    assert parse_root_key("root-1", text) == KEY


@pytest.mark.parametrize(
    "text", ["", "zz", SECRET[:31].hex(), base64.b64encode(SECRET[:31]).decode(), "é" * 40]
)
def test_a_bad_root_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="root key") as refused:
        parse_root_key("root-1", text)
    assert not text or text not in str(refused.value)


def test_a_root_key_never_shows_its_secret() -> None:
    assert SECRET.hex() not in repr(KEY)
    assert str(SECRET) not in repr(KEY)


def test_a_root_key_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET.hex())
    assert read_root_key("root-1", file) == KEY
    with pytest.raises(ValueError, match="cannot be read"):
        read_root_key("root-1", tmp_path / "none")


def test_pr_13_only_cycles_whose_commitments_are_stored_have_a_seed() -> None:
    seeds = CommittedSeeds(KEY)
    new = seeds.new([(1, 5), (2, 9)], POOLS)
    assert len(seeds) == 0
    seeds.add(new, POOLS)
    assert dict(seeds) == {(1, 5): KEY.seed("mini", 5), (2, 9): KEY.seed("major", 9)}
    assert [each.sha256 for each in new] == [commitment(seed) for seed in seeds.values()]


def test_pr_13_a_start_with_another_root_key_is_refused() -> None:
    committed = CommittedSeeds(KEY).new([(1, 1)], POOLS)
    for other in (RootKey("root-2", SECRET), RootKey("root-1", SECRET[::-1])):
        with pytest.raises(StartRefused):
            CommittedSeeds(other).add(committed, POOLS)


def test_seeds_of_closed_cycles_are_forgotten() -> None:
    seeds = CommittedSeeds(KEY)
    seeds.add(seeds.new([(1, cycle) for cycle in range(1, 10)], POOLS), POOLS)
    seeds.forget(1, before_cycle=6)
    assert sorted(seeds) == [(1, cycle) for cycle in range(6, 10)]

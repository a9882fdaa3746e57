"""The README's conversation works as it stands, from the first command to the last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.stack import Stack
from tests.support.readme import commands

ROOT = Path(__file__).parents[2]
CONVERSATION = [command for command in commands() if command.conversation]
# grpcurl ends with 64 + the status.
EXIT_CODES = {"": 0, "AlreadyExists": 64 + 6}


def say(stack: Stack, text: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as pasted, against this stack's ports and this environment's programs."""
    text = text.replace("127.0.0.1:50051", stack.addresses.spin).replace(
        "127.0.0.1:50052", stack.addresses.jackpot
    )
    text = text.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    return subprocess.run(
        ["sh", "-c", text], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.fixture(scope="module")
def answers(stack: Stack) -> dict[str, list[str]]:
    """What each method answered, call by call; the whole conversation, held once."""
    heard: dict[str, list[str]] = {}
    for command in CONVERSATION:
        outcome = say(stack, command.text)
        assert outcome.returncode == EXIT_CODES[command.status], (
            f"{command.text}\n{outcome.stdout}{outcome.stderr}"
        )
        heard.setdefault(command.words[-1].rpartition("/")[2], []).append(outcome.stdout + outcome.stderr)
    return heard


def test_both_servers_list_and_describe_their_services(answers: dict[str, list[str]]) -> None:
    assert {"spin.v1.SpinService", "spin.v1.WalletService"} <= set(answers["list"][0].split())
    assert "rpc ListWinEvents" in answers["jackpot.v1.JackpotService"][0]


def test_a_spin_is_answered_before_its_jackpot_and_its_shares_follow(answers: dict[str, list[str]]) -> None:
    settled, awaited = json.loads(answers["SettleSpin"][0]), json.loads(answers["WaitForJackpot"][0])
    assert settled["spin"]["jackpot_state"] == "JACKPOT_STATE_PENDING"
    assert awaited["spin"]["jackpot_state"] == "JACKPOT_STATE_RECORDED"
    shares = {share["pool"]: share["amount_micros"] for share in awaited["spin"]["jackpot_shares"]}
    assert shares == {
        "pools/mini": "150000",
        "pools/minor": "100000",
        "pools/major": "50000",
        "pools/grand": "25000",
    }


def test_a_table_spin_has_no_jackpot(answers: dict[str, list[str]]) -> None:
    assert json.loads(answers["SettleSpin"][1])["spin"]["jackpot_state"] == "JACKPOT_STATE_NOT_APPLICABLE"


def test_the_jackpot_server_has_the_contribution(answers: dict[str, list[str]]) -> None:
    contribution = json.loads(answers["GetContribution"][0])["contribution"]
    assert contribution["user_id"] == "alice"
    assert len(contribution["shares"]) == 4
    assert json.loads(answers["GetPool"][0])["pool"]["config"]["tier"] == "MINI"


def test_a_repeat_gets_the_first_decision_and_another_wager_is_refused(answers: dict[str, list[str]]) -> None:
    first, repeat = json.loads(answers["SettleSpin"][0]), json.loads(answers["SettleSpin"][2])
    assert repeat["replayed"] is True
    decided = ("spin_id", "wager", "payout", "balance", "settle_time")
    assert [repeat["spin"][field] for field in decided] == [first["spin"][field] for field in decided]
    assert "SPIN_ID_REUSED" in answers["SettleSpin"][3]

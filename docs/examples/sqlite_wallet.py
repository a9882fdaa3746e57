"""A wallet on jackpot.v1 alone, with SQLite: killed at any moment, no coin is lost or doubled.

    python docs/examples/sqlite_wallet.py wallet.db 127.0.0.1:50052 --spins 1000

Each step is one transaction here or one call there, and every call may be repeated:
  play         stake and spin are stored together; the spin is what is still to be sent
  send         repeats the same ids and fields until each spin is answered; takes the wins of the answers
  listen       takes the wins that no answer brought; moves the cursor in the transaction that took them
  acknowledge  repeats until the jackpot server has heard what was done about each win
"""

import argparse
import secrets
import sqlite3
import sys
import time
import uuid

import grpc
from google.protobuf import duration_pb2

from protos.jackpot.v1 import jackpot_pb2 as pb
from protos.jackpot.v1 import jackpot_pb2_grpc

OPERATOR, CURRENCY, STAKES_MINOR, FUNDS_MINOR, BURST = "sqlite", "COIN", (1, 20, 100, 100), 10**9, 20
# Refused for good: a person must look. Anything else is worth repeating.
FINAL = {3, 5, 6, 9}  # INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS entries (
    entry_id INTEGER PRIMARY KEY, amount INTEGER NOT NULL, reference TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS spins (spin_id TEXT PRIMARY KEY, wager INTEGER NOT NULL, answer TEXT);
CREATE TABLE IF NOT EXISTS wins (
    win TEXT PRIMARY KEY, amount INTEGER NOT NULL, acted_sequence INTEGER NOT NULL, outcome INTEGER NOT NULL,
    entry_id INTEGER, acknowledgement TEXT);
CREATE TABLE IF NOT EXISTS cursor (only_row INTEGER PRIMARY KEY, last_sequence INTEGER NOT NULL);
INSERT OR IGNORE INTO cursor VALUES (1, 0);
INSERT OR IGNORE INTO entries (amount, reference) VALUES ({FUNDS_MINOR}, 'opening');
"""
OPEN_WINS = "SELECT win, amount, acted_sequence, outcome, entry_id FROM wins WHERE acknowledgement IS NULL"
OPEN_SPINS = "SELECT spin_id, wager FROM spins WHERE answer IS NULL LIMIT 500"


def play(db: sqlite3.Connection) -> None:
    """Takes a stake: its entry and the spin to send are in one transaction."""
    spin_id, wager = str(uuid.uuid4()), secrets.choice(STAKES_MINOR)
    with db:
        db.execute("INSERT INTO entries (amount, reference) VALUES (?, ?)", (-wager, spin_id))
        db.execute("INSERT INTO spins (spin_id, wager) VALUES (?, ?)", (spin_id, wager))


def take(db: sqlite3.Connection, win: pb.Win) -> None:
    """Acts on a win, inside the caller's transaction: once per win, and never on an older event."""
    if not db.execute("SELECT 1 FROM spins WHERE spin_id = ?", (win.spin_id,)).fetchone():
        return  # of another wallet of this operator
    known = db.execute("SELECT acted_sequence, entry_id FROM wins WHERE win = ?", (win.name,)).fetchone()
    if known and (known[1] is not None or win.event_sequence <= known[0]):
        return
    amount, entry_id = win.amount.amount_minor, None
    if win.state == pb.Win.STATE_PAYABLE:
        outcome = pb.AcknowledgeWinRequest.OUTCOME_CREDITED
        credit = "INSERT INTO entries (amount, reference) VALUES (?, ?)"
        entry_id = db.execute(credit, (amount, win.name)).lastrowid
    elif win.state == pb.Win.STATE_HELD:
        outcome = pb.AcknowledgeWinRequest.OUTCOME_HOLD_CONFIRMED
    else:
        return
    done = (win.name, amount, win.event_sequence, outcome, entry_id)
    db.execute("INSERT OR REPLACE INTO wins VALUES (?, ?, ?, ?, ?, NULL)", done)


def send(db: sqlite3.Connection, jackpots: jackpot_pb2_grpc.JackpotServiceStub) -> None:
    """Sends what is not answered; a spin's answer and its wins are stored in one transaction."""
    spins = db.execute(OPEN_SPINS).fetchall()
    if not spins:
        return
    request = pb.BatchRecordContributionsRequest()
    for spin_id, wager in spins:
        request.requests.add(
            spin_id=spin_id, operator_id=OPERATOR, user_id="alice", wallet_id="alice",
            wager=pb.Money(currency_code=CURRENCY, amount_minor=wager),
            game_category=pb.GAME_CATEGORY_SLOTS, game_id="lucky-lines", stake_kind=pb.STAKE_KIND_CASH,
        )  # fmt: skip
    results = jackpots.BatchRecordContributions(request, timeout=5).results
    with db:
        for (spin_id, _), result in zip(spins, results, strict=True):
            for win in result.recorded.contribution.wins:
                take(db, win)
            if result.WhichOneof("outcome") == "recorded" or result.error.code in FINAL:
                answer = result.error.reason or "RECORDED"
                db.execute("UPDATE spins SET answer = ? WHERE spin_id = ?", (answer, spin_id))


def listen(db: sqlite3.Connection, jackpots: jackpot_pb2_grpc.JackpotServiceStub) -> bool:
    """Takes the next win events; the cursor moves in the same transaction. Whether there were any."""
    (last,) = db.execute("SELECT last_sequence FROM cursor").fetchone()
    wait = duration_pb2.Duration(nanos=10_000_000)
    page = pb.ListWinEventsRequest(operator_id=OPERATOR, after_sequence=last, page_size=500, wait=wait)
    answer = jackpots.ListWinEvents(page, timeout=5)
    with db:
        for event in answer.events:
            take(db, event.win)
        db.execute("UPDATE cursor SET last_sequence = ?", (answer.last_sequence,))
    return bool(answer.events)


def acknowledge(db: sqlite3.Connection, jackpots: jackpot_pb2_grpc.JackpotServiceStub) -> None:
    """Tells what was done about each win until it is heard."""
    for win, amount, sequence, outcome, entry_id in db.execute(OPEN_WINS).fetchall():
        request = pb.AcknowledgeWinRequest(name=win, outcome=outcome, event_sequence=sequence)
        if entry_id is not None:
            request.wallet_entry_id = str(entry_id)
            request.credited.CopyFrom(pb.Money(currency_code=CURRENCY, amount_minor=amount))
        try:
            jackpots.AcknowledgeWin(request, timeout=5)
            answer = "ACKNOWLEDGED"
        except grpc.RpcError as error:
            if error.code().value[0] not in FINAL:
                raise
            answer = str(error.details())
        done = "UPDATE wins SET acknowledgement = ? WHERE win = ? AND acted_sequence = ?"
        with db:
            db.execute(done, (answer, win, sequence))


def main() -> None:
    """Plays `--spins` more spins, then goes on until everything is answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("address")
    parser.add_argument("--spins", type=int, default=100)
    arguments = parser.parse_args()
    db = sqlite3.connect(arguments.file)
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(SCHEMA)
    channel = grpc.insecure_channel(arguments.address)
    jackpots, left, heard = jackpot_pb2_grpc.JackpotServiceStub(channel), arguments.spins, True
    while left or heard or db.execute(OPEN_SPINS).fetchone() or db.execute(OPEN_WINS).fetchone():
        burst = min(left, BURST)
        for _ in range(burst):
            play(db)
        left -= burst
        try:
            send(db, jackpots)
            heard = listen(db, jackpots)
            acknowledge(db, jackpots)
        except grpc.RpcError as error:
            sys.stderr.write(f"again in 0.2 s: {error.code().name}\n")
            time.sleep(0.2)


if __name__ == "__main__":
    main()

// A wallet that adopts jackpots through the outbox sidecar: docs/integration.md, "Your own wallet, with the
// outbox". It speaks SQL with its own database and nothing else; the sidecar does the calls.
//
//   DATABASE_URL=postgresql://… node outbox_wallet.mjs bet WALLET FIRST COUNT    settles bets
//   DATABASE_URL=postgresql://… node outbox_wallet.mjs void WALLET NUMBER        takes a bet back
//   DATABASE_URL=postgresql://… node outbox_wallet.mjs serve                     credits wins until SIGTERM

import {
  CURRENCY, OPERATOR, addEntry, bet, forEver, lockWallet, openPool, play, stopSignal, takeBack, transaction, untilDone,
} from "./casino.mjs";

const CONTRIBUTION = 1;
const VOID = 2;
const ACKNOWLEDGEMENT = 3;
const SLOTS = 1;
const CASH = 1;
const PAYABLE = 1;
const HELD = 2;
const CREDITED = 1;
const FAILED = 2;
const HOLD_CONFIRMED = 3;

/** Written with the bet, in its transaction: from its commit on, the contribution cannot be lost. */
async function rememberContribution(db, bet) {
  if (bet.wagerMinor === 0) return;
  await db.query(
    `INSERT INTO jackpot_outbox (kind, spin_id, operator_id, user_id, wallet_id, currency_code, wager_minor,
                                 game_category, game_id, provider_name, provider_round_id, stake_kind, occur_time)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now())`,
    [
      CONTRIBUTION, bet.spinId, OPERATOR, bet.userId, bet.walletId, CURRENCY, bet.wagerMinor,
      SLOTS, bet.gameId, bet.provider, bet.round, CASH,
    ],
  );
}

/** Written with the void, in its transaction: with the wins that the wallet has credited by then. */
async function rememberVoid(db, bet) {
  const credited = await db.query(
    "SELECT win FROM jackpot_wins WHERE spin_id = $1 AND wallet_entry_id IS NOT NULL",
    [bet.spinId],
  );
  await db.query(
    `INSERT INTO jackpot_outbox (kind, spin_id, operator_id, credited_wins, reason)
     VALUES ($1, $2, $3, $4, $5)`,
    [VOID, bet.spinId, OPERATOR, credited.rows.map(({ win }) => win).join(","), "cancelled by the provider"],
  );
}

/** One look for wins that wait for this wallet; true if there was any. */
async function handleWins(pool) {
  const waiting = await pool.query(
    `SELECT win, wallet_id FROM jackpot_wins
     WHERE wallet_entry_id IS NULL AND state IN (1, 2) AND event_sequence > acted_sequence
     ORDER BY receive_time LIMIT 100`,
  );
  for (const { win, wallet_id: walletId } of waiting.rows) {
    await transaction(pool, (db) => handleWin(db, win, walletId));
  }
  return waiting.rowCount > 0;
}

/** Credits a win, once, or says why not; with its acknowledgement, all in one transaction. */
async function handleWin(db, name, walletId) {
  // First the wallet, then the win: what was read before the locks may be old.
  const wallet = await lockWallet(db, walletId);
  const found = await db.query(
    `SELECT * FROM jackpot_wins
     WHERE win = $1 AND wallet_entry_id IS NULL AND state IN (1, 2) AND event_sequence > acted_sequence
     FOR UPDATE`,
    [name],
  );
  const win = found.rows[0];
  if (win === undefined) return; // another process of this wallet was here
  const voided = await db.query("SELECT FROM jackpot_voids WHERE spin_id = $1", [win.spin_id]);
  if (win.state === PAYABLE && voided.rowCount > 0 && !win.spin_voided) return; // the void is on its way
  if (win.state === HELD) {
    await act(db, win, { outcome: HOLD_CONFIRMED });
  } else if (win.state === PAYABLE && (wallet === undefined || wallet.is_closed)) {
    await act(db, win, { outcome: FAILED, failureReason: "the wallet is closed" });
  } else if (win.state === PAYABLE) {
    await act(db, win, { outcome: CREDITED, entryId: await addEntry(db, walletId, win.amount_minor, win.win) });
  }
}

/** Notes what was done with a win, and has it acknowledged. */
async function act(db, win, { outcome, entryId = null, failureReason = "" }) {
  await db.query(
    `UPDATE jackpot_wins SET wallet_entry_id = $2, acted_sequence = event_sequence, failure_reason = $3
     WHERE win = $1`,
    [win.win, entryId, failureReason],
  );
  const credited = outcome === CREDITED;
  await db.query(
    `INSERT INTO jackpot_outbox (kind, spin_id, win, event_sequence, operator_id, outcome,
                                 wallet_entry_id, currency_code, credited_minor, credit_time, failure_reason)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now(), $10)`,
    [
      ACKNOWLEDGEMENT, win.spin_id, win.win, win.event_sequence, win.operator_id, outcome,
      entryId ?? "", credited ? win.currency_code : "", credited ? win.amount_minor : 0, failureReason,
    ],
  );
}

const [command, ...values] = process.argv.slice(2);
const pool = openPool(process.env.DATABASE_URL);
if (command === "bet") {
  await play(pool, values[0], Number(values[1]), Number(values[2]), rememberContribution);
} else if (command === "void") {
  const taken = bet(values[0], Number(values[1]));
  await untilDone(`void ${taken.spinId}`, () => takeBack(pool, taken, rememberVoid));
} else if (command === "serve") {
  await forEver("wins", stopSignal(), () => handleWins(pool));
} else {
  console.error("bet WALLET FIRST COUNT, void WALLET NUMBER, or serve");
  process.exitCode = 2;
}
await pool.end();

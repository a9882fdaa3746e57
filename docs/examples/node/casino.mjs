// What both wallets have in common and jackpots do not care about: bets, balances, transactions.

import pg from "pg";
import { spinId } from "./spin_ids.mjs";

export const OPERATOR = "node-casino";
// Made once with uuid5(NAMESPACE_DNS, "casino.example"), and never changed.
export const NAMESPACE = "79857152-0258-5db7-97e7-091ef386f34a";
export const CURRENCY = "COIN";
const PROVIDER = "acme-games";

/** The bet that the provider calls `transaction`: the same number is the same bet, also after a crash. */
export function bet(walletId, number) {
  const transaction = `${walletId}-${number}`;
  return {
    spinId: spinId(NAMESPACE, PROVIDER, transaction),
    walletId,
    userId: `player-of-${walletId}`,
    gameId: "pyramids",
    provider: PROVIDER,
    round: `round-${Math.floor(number / 2)}`,
    wagerMinor: 100,
    payoutMinor: number % 4 === 0 ? 200 : 0,
  };
}

/**
 * Settles a bet once, however often it is called: stake out, payout in, and whatever `remember` writes for
 * the jackpot, in one transaction. True if this call did it, false if it had been done before.
 *
 * When it throws, nothing is known (the connection may have been lost at COMMIT): call it again.
 */
export function settle(pool, bet, remember) {
  return transaction(pool, async (db) => {
    await lockWallet(db, bet.walletId);
    const inserted = await db.query(
      `INSERT INTO bets (spin_id, wallet_id, user_id, game_id, provider, round, wager_minor, payout_minor)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
      [bet.spinId, bet.walletId, bet.userId, bet.gameId, bet.provider, bet.round, bet.wagerMinor, bet.payoutMinor],
    );
    if (inserted.rowCount === 0) return false;
    await addEntry(db, bet.walletId, -bet.wagerMinor, `stake ${bet.spinId}`);
    if (bet.payoutMinor > 0) await addEntry(db, bet.walletId, bet.payoutMinor, `payout ${bet.spinId}`);
    await remember(db, bet);
    return true;
  });
}

/**
 * Takes a bet back once: the stake returns, the payout leaves, and `remember` writes for the jackpot, in one
 * transaction. True if this call did it. When it throws, nothing is known: call it again.
 */
export function takeBack(pool, bet, remember) {
  return transaction(pool, async (db) => {
    await lockWallet(db, bet.walletId);
    const voided = await db.query("UPDATE bets SET is_voided = true WHERE spin_id = $1 AND NOT is_voided", [bet.spinId]);
    if (voided.rowCount === 0) return false;
    await addEntry(db, bet.walletId, bet.wagerMinor - bet.payoutMinor, `void ${bet.spinId}`);
    await remember(db, bet);
    return true;
  });
}

/** The wallet, locked until the transaction ends: nobody else credits or debits it meanwhile. */
export async function lockWallet(db, walletId) {
  const found = await db.query("SELECT * FROM wallets WHERE wallet_id = $1 FOR NO KEY UPDATE", [walletId]);
  return found.rows[0];
}

/** Moves money and says why; `reference` is unique, so that nothing is booked twice. Returns the entry's id. */
export async function addEntry(db, walletId, amountMinor, reference) {
  await db.query("UPDATE wallets SET balance_minor = balance_minor + $2 WHERE wallet_id = $1", [
    walletId,
    amountMinor,
  ]);
  const entry = await db.query(
    "INSERT INTO entries (wallet_id, amount_minor, reference) VALUES ($1, $2, $3) RETURNING entry_id",
    [walletId, amountMinor, reference],
  );
  return `${walletId}:${entry.rows[0].entry_id}`;
}

/** Runs `work` in a transaction on a connection of its own. When it throws, the outcome is unknown. */
export async function transaction(pool, work) {
  const db = await pool.connect();
  let broken;
  try {
    await db.query("BEGIN");
    const result = await work(db);
    await db.query("COMMIT");
    return result;
  } catch (error) {
    broken = error;
    throw error;
  } finally {
    // A connection that failed is closed, which also rolls back.
    db.release(broken);
  }
}

export function openPool(url) {
  const pool = new pg.Pool({ connectionString: url, max: 8 });
  // An idle connection that the database closes is no reason to end; the pool opens another.
  pool.on("error", () => {});
  return pool;
}

/** Settles bets FIRST … FIRST + COUNT - 1, each until it is known to be settled. */
export async function play(pool, walletId, first, count, remember) {
  for (let number = first; number < first + count; number++) {
    await untilDone(`bet ${number}`, () => settle(pool, bet(walletId, number), remember));
  }
}

/** Repeats `attempt` until it does not throw, with a growing pause of random length. */
export async function untilDone(what, attempt) {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      console.error(`${what}: ${error.message}; again`);
      await pause(Math.min(5_000, 50 * 2 ** tries) * (0.5 + Math.random()));
    }
  }
}

/** Repeats `step` until the process is told to stop; pauses whenever a step found nothing to do, or failed. */
export async function forEver(what, stopping, step) {
  while (!stopping.aborted) {
    let busy = false;
    try {
      busy = await step();
    } catch (error) {
      if (!stopping.aborted) console.error(`${what}: ${error.message}`);
    }
    if (!busy) await pause(50 + 100 * Math.random());
  }
}

/** An AbortSignal that SIGTERM and SIGINT set off. */
export function stopSignal() {
  const controller = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"]) process.once(name, () => controller.abort());
  return controller.signal;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

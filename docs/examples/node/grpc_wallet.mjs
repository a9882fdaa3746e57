// A wallet that calls jackpot.v1 by itself: docs/integration.md, "Your own wallet, with jackpot.v1".
//
//   DATABASE_URL=postgresql://… node grpc_wallet.mjs bet WALLET FIRST COUNT    settles bets
//   DATABASE_URL=postgresql://… JACKPOT_ADDRESS=host:port node grpc_wallet.mjs serve
//                                      contributes, credits and acknowledges until SIGTERM

import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { CURRENCY, OPERATOR, addEntry, forEver, lockWallet, openPool, play, stopSignal, transaction } from "./casino.mjs";

const PROTOS = fileURLToPath(new URL("../../../protos", import.meta.url));
const CALL_LIMIT_MS = 2_000;
const WAIT_S = 10;
const WAIT_MARGIN_MS = 5_000;
const AT_ONCE = 16;

// Sent again, these are refused again: a person must look. Everything else is repeated until it is answered.
const REFUSALS = new Set([
  grpc.status.INVALID_ARGUMENT,
  grpc.status.NOT_FOUND,
  grpc.status.ALREADY_EXISTS,
  grpc.status.FAILED_PRECONDITION,
]);
// One item that fails waits longer each time, and never in the way of the others.
const LATER = "now() + interval '1 second' * least(5, 0.1 * 2 ^ least(attempts, 10)) * (0.5 + random())";

/** Written with the bet, in its transaction: from its commit on, the contribution cannot be lost. */
async function rememberContribution(db, bet) {
  if (bet.wagerMinor === 0) return;
  const request = {
    spinId: bet.spinId,
    operatorId: OPERATOR,
    userId: bet.userId,
    walletId: bet.walletId,
    wager: { currencyCode: CURRENCY, amountMinor: bet.wagerMinor },
    gameCategory: "GAME_CATEGORY_SLOTS",
    gameId: bet.gameId,
    providerName: bet.provider,
    providerRoundId: bet.round,
    stakeKind: "STAKE_KIND_CASH",
  };
  await db.query("INSERT INTO jackpot_calls (spin_id, request) VALUES ($1, $2)", [bet.spinId, request]);
}

/** Sends contributions that are due and have no answer yet; true if there was any. */
async function contribute(pool, jackpots) {
  const due = await pool.query(
    `SELECT spin_id, request FROM jackpot_calls
     WHERE answer IS NULL AND refusal IS NULL AND due_time <= now() ORDER BY due_time LIMIT $1`,
    [AT_ONCE],
  );
  await eachOf(due.rows, async ({ spin_id: spinId, request }) => {
    const { answer, refusal } = await ask(jackpots, "RecordContribution", request);
    await transaction(pool, async (db) => {
      const contribution = answer?.contribution ?? null;
      for (const win of contribution?.wins ?? []) await handleWin(db, win);
      await db.query(
        `UPDATE jackpot_calls SET answer = $2, refusal = $3, attempts = attempts + 1, due_time = ${LATER}
         WHERE spin_id = $1`,
        [spinId, contribution, refusal],
      );
    });
  });
  return due.rowCount > 0;
}

/** Asks for win events after the last one handled, waits for some, and handles them in order. */
async function followWins(pool, jackpots) {
  const cursor = await pool.query("SELECT last_sequence FROM jackpot_cursors WHERE operator_id = $1", [OPERATOR]);
  const afterSequence = cursor.rows[0]?.last_sequence ?? "0";
  const { events } = await jackpots.call(
    "ListWinEvents",
    { operatorId: OPERATOR, afterSequence, pageSize: 100, wait: { seconds: WAIT_S } },
    WAIT_S * 1_000 + WAIT_MARGIN_MS,
  );
  for (const { sequence, win } of events) {
    await transaction(pool, async (db) => {
      await handleWin(db, win);
      await db.query(
        `INSERT INTO jackpot_cursors (operator_id, last_sequence) VALUES ($1, $2)
         ON CONFLICT (operator_id)
         DO UPDATE SET last_sequence = GREATEST(jackpot_cursors.last_sequence, excluded.last_sequence)`,
        [OPERATOR, sequence],
      );
    });
  }
  return true; // it has waited already
}

/** Acts on a win as an answer or an event told of it, unless it is old news; the acknowledgement is sent later. */
async function handleWin(db, win) {
  if (win.shadow) return; // of a pool on trial: never paid
  const wallet = await lockWallet(db, win.walletId);
  const ours = await db.query("SELECT FROM bets WHERE spin_id = $1", [win.spinId]);
  if (ours.rowCount === 0) return; // of another wallet of this operator: never acknowledged from here
  const acted = await db.query(
    `SELECT coalesce(max(event_sequence), 0) >= $2 AS is_old, coalesce(bool_or(is_credit), false) AS is_credited
     FROM jackpot_acts WHERE win = $1`,
    [win.name, win.eventSequence],
  );
  if (acted.rows[0].is_old || acted.rows[0].is_credited) return;
  const act = { name: win.name, eventSequence: win.eventSequence };
  if (win.state === "STATE_HELD") {
    act.outcome = "OUTCOME_HOLD_CONFIRMED";
  } else if (win.state === "STATE_PAYABLE" && (wallet === undefined || wallet.is_closed)) {
    act.outcome = "OUTCOME_FAILED";
    act.failureReason = "the wallet is closed";
  } else if (win.state === "STATE_PAYABLE") {
    act.outcome = "OUTCOME_CREDITED";
    act.walletEntryId = await addEntry(db, win.walletId, win.amount.amountMinor, win.name);
    act.credited = win.amount;
    act.creditTime = { seconds: Math.floor(Date.now() / 1_000) };
  } else {
    return; // PAID or REJECTED: nothing to do
  }
  await db.query(
    "INSERT INTO jackpot_acts (win, event_sequence, is_credit, request) VALUES ($1, $2, $3, $4)",
    [win.name, win.eventSequence, act.outcome === "OUTCOME_CREDITED", act],
  );
}

/** Sends acknowledgements that are due and have no answer yet; true if there was any. */
async function acknowledge(pool, jackpots) {
  const due = await pool.query(
    `SELECT win, event_sequence, request FROM jackpot_acts
     WHERE NOT is_answered AND refusal IS NULL AND due_time <= now() ORDER BY due_time LIMIT $1`,
    [AT_ONCE],
  );
  await eachOf(due.rows, async ({ win, event_sequence: sequence, request }) => {
    const { answer, refusal } = await ask(jackpots, "AcknowledgeWin", request);
    await pool.query(
      `UPDATE jackpot_acts SET is_answered = $3, refusal = $4, attempts = attempts + 1, due_time = ${LATER}
       WHERE win = $1 AND event_sequence = $2`,
      [win, sequence, answer !== null, refusal],
    );
  });
  return due.rowCount > 0;
}

/** What became of a call: its answer, or why it was refused for good; neither if it is to be made again. */
async function ask(jackpots, method, request) {
  try {
    return { answer: await jackpots.call(method, request), refusal: null };
  } catch (error) {
    const isFinal = REFUSALS.has(error.code);
    console.error(`${method} ${isFinal ? "was refused for good" : "will be repeated"}: ${error.message}`);
    return { answer: null, refusal: isFinal ? error.message : null };
  }
}

/** Runs `work` for all items at once; throws the first error when all have ended. */
async function eachOf(items, work) {
  const ends = await Promise.allSettled(items.map(work));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** The jackpot server, with a deadline for every call. */
function connect(address) {
  const loaded = protoLoader.loadSync("jackpot/v1/jackpot.proto", {
    includeDirs: [PROTOS],
    longs: String, // 64 bits do not fit a number of JavaScript
    enums: String,
    defaults: true,
    arrays: true,
  });
  const service = grpc.loadPackageDefinition(loaded).jackpot.v1.JackpotService;
  const client = new service(address, grpc.credentials.createInsecure(), {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 500,
  });
  const open = new Set();
  return {
    call: (method, request, limitMs = CALL_LIMIT_MS) =>
      new Promise((resolve, reject) => {
        const call = client[method](request, { deadline: Date.now() + limitMs }, (error, answer) => {
          open.delete(call);
          if (error) reject(error);
          else resolve(answer);
        });
        open.add(call);
      }),
    /** Ends every call that still waits; what became of it will be asked again. */
    close: () => {
      for (const call of open) call.cancel();
      client.close();
    },
  };
}

const [command, ...values] = process.argv.slice(2);
const pool = openPool(process.env.DATABASE_URL);
if (command === "bet") {
  await play(pool, values[0], Number(values[1]), Number(values[2]), rememberContribution);
} else if (command === "serve") {
  const stopping = stopSignal();
  const jackpots = connect(process.env.JACKPOT_ADDRESS ?? "127.0.0.1:50052");
  stopping.addEventListener("abort", () => jackpots.close());
  await Promise.all([
    forEver("contributions", stopping, () => contribute(pool, jackpots)),
    forEver("wins", stopping, () => followWins(pool, jackpots)),
    forEver("acknowledgements", stopping, () => acknowledge(pool, jackpots)),
  ]);
} else {
  console.error("bet WALLET FIRST COUNT, or serve");
  process.exitCode = 2;
}
await pool.end();

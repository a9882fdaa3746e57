// Repeats the test vectors of docs/fairness.md, written from that page alone; needs nothing but Node.
//
//   node fairness.mjs fairness-vectors.json        says what differs; status 1 if anything does

import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const MICROS = 1_000_000n;

/** A part: its length in four bytes, then itself. */
function part(bytes) {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** A number as a part: eight bytes. */
function number(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return part(bytes);
}

const text = (value) => part(Buffer.from(value, "utf8"));
const hex = (value) => part(Buffer.from(value, "hex"));
const hmac = (key, ...parts) => createHmac("sha256", key).update(Buffer.concat(parts)).digest();
const big = (bytes) => BigInt(`0x${bytes.toString("hex")}`);

/** Uniform in [low, high]: a value beyond the largest multiple of the range is thrown away. */
function uniform(seed, message, low, high) {
  const size = high - low + 1n;
  const fair = 2n ** 256n - (2n ** 256n % size);
  for (let counter = 0n; ; counter++) {
    const value = big(hmac(seed, message, number(counter)));
    if (value < fair) return low + (value % size);
  }
}

/** The larger and the smaller of two BigInts. */
const max = (a, b) => (a > b ? a : b);
const min = (a, b) => (a < b ? a : b);

const answers = {
  seeds: ({ pool, cycle }, rootKey) => {
    const seed = hmac(rootKey, text(pool), number(BigInt(cycle)));
    return { seed: seed.toString("hex"), commitment: createHash("sha256").update(seed).digest("hex") };
  },
  draws: (draw) => {
    const digest = createHash("sha256").update(draw.config, "utf8").digest("hex");
    const spin = part(Buffer.from(draw.spin_id.replaceAll("-", ""), "hex"));
    const seed = Buffer.from(draw.seed, "hex");
    const value = hmac(seed, text(draw.pool), number(BigInt(draw.cycle)), spin, text(draw.client_seed), hex(digest));
    const odds = BigInt(draw.per_wager_minor) * BigInt(draw.one_in);
    const threshold = min((2n ** 256n * BigInt(draw.wager_minor)) / odds, 2n ** 256n);
    const size = threshold === 2n ** 256n ? 66 : 64;
    return {
      config_sha256: digest,
      value: value.toString("hex"),
      threshold: threshold.toString(16).padStart(size, "0"),
      won: big(value) < threshold,
    };
  },
  hidden_amounts: (amount) => {
    const ceiling = BigInt(amount.ceiling_minor) * MICROS;
    const low = min(max(BigInt(amount.floor_minor) * MICROS, BigInt(amount.cycle_start_micros)), ceiling);
    const message = Buffer.concat([
      text("must_hit_by"), text(amount.pool), number(BigInt(amount.cycle)), hex(amount.config_sha256),
    ]);
    return { hidden_micros: String(uniform(Buffer.from(amount.seed, "hex"), message, low, ceiling)) };
  },
  hidden_moments: (moment) => {
    const deadline = BigInt(moment.deadline_us);
    const begin = deadline - BigInt(moment.period_s) * MICROS;
    const earliest = min(max(BigInt(moment.cycle_start_us), begin), deadline);
    const message = Buffer.concat([
      text("must_drop_by"), text(moment.pool), number(BigInt(moment.cycle)), hex(moment.config_sha256),
    ]);
    return { hidden_us: String(uniform(Buffer.from(moment.seed, "hex"), message, earliest, deadline)) };
  },
};

const vectors = JSON.parse(readFileSync(process.argv[2], "utf8"));
const rootKey = Buffer.from(vectors.root_key, "hex");
let compared = 0;
for (const [kind, answer] of Object.entries(answers)) {
  for (const vector of vectors[kind]) {
    for (const [name, value] of Object.entries(answer(vector, rootKey))) {
      compared++;
      if (vector[name] !== value) {
        console.error(`${kind} ${JSON.stringify(vector)}: ${name} is ${value} here`);
        process.exitCode = 1;
      }
    }
  }
}
console.log(`${compared} values compared`);

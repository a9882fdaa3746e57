// Spin ids from the ids that a game provider already has: UUIDv5, the same on every machine, for ever.
//
//   node spin_ids.mjs NAMESPACE PROVIDER TRANSACTION …    prints one spin id per transaction

import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";

/** UUIDv5 (RFC 9562): SHA-1 over the namespace's 16 bytes and the name in UTF-8. */
export function uuid5(namespace, name) {
  const bytes = createHash("sha1")
    .update(Buffer.from(namespace.replaceAll("-", ""), "hex"))
    .update(name, "utf8")
    .digest()
    .subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x50; // version 5
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // variant of the RFC
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * The id of the spin that `provider` calls `transaction`: the transaction of the bet, not the round, which
 * may have several. A space stands between the two because neither has one.
 */
export function spinId(namespace, provider, transaction) {
  return uuid5(namespace, `${provider} ${transaction}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [namespace, provider, ...transactions] = process.argv.slice(2);
  for (const transaction of transactions) console.log(spinId(namespace, provider, transaction));
}

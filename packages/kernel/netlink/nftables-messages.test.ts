import assert from "node:assert/strict";
import { test } from "node:test";
import { NLM_F_ACK, parseAttributes, parseMessages } from "#kernel/netlink/message-codec.ts";
import {
  batch,
  deleteTable,
  fieldIs,
  NETWORK_HEADER,
  NF_INET_LOCAL_OUT,
  NFPROTO_IPV4,
  newBaseChain,
  newRule,
  newTable,
  setField,
  TRANSPORT_HEADER,
} from "#kernel/netlink/nftables-messages.ts";

const NFTABLES = 10 << 8;

test("a batch is begun and ended, and its last request alone is acknowledged", () => {
  const bytes = batch([
    deleteTable(NFPROTO_IPV4, "t"),
    newTable(NFPROTO_IPV4, "t"),
    newBaseChain(NFPROTO_IPV4, "t", "c", { hook: NF_INET_LOCAL_OUT, priority: -300 }),
    newRule(NFPROTO_IPV4, "t", "c", []),
  ]);
  const messages = parseMessages(bytes);
  assert.deepEqual(
    messages.map(({ type }) => type),
    [0x10, NFTABLES | 2, NFTABLES | 0, NFTABLES | 3, NFTABLES | 6, 0x11],
  );
  assert.deepEqual(
    messages.map(({ flags }) => (flags & NLM_F_ACK) !== 0),
    [false, false, false, false, true, false],
  );
  assert.deepEqual(
    messages.map(({ sequence }) => sequence),
    [1, 2, 3, 4, 5, 6],
  );
  // res_id of the bounds: the subsystem, in network order.
  assert.equal(messages[0]?.payload.readUInt16BE(2), 10);
});

test("numbers are in network order; a chain's priority may be negative", () => {
  const [, chain] = parseMessages(
    batch([newBaseChain(NFPROTO_IPV4, "table", "chain", { hook: NF_INET_LOCAL_OUT, priority: -300 })]),
  );
  const attributes = parseAttributes(chain?.payload ?? Buffer.alloc(0), 4);
  assert.equal(attributes.get(1)?.toString(), "table\0");
  assert.equal(attributes.get(3)?.toString(), "chain\0");
  const hook = parseAttributes(attributes.get(4) ?? Buffer.alloc(0));
  assert.equal(hook.get(1)?.readInt32BE(), 3);
  assert.equal(hook.get(2)?.readInt32BE(), -300);
});

test("a rule is its expressions, one after the other", () => {
  const [, rule] = parseMessages(
    batch([
      newRule(NFPROTO_IPV4, "t", "c", [
        ...fieldIs({ base: NETWORK_HEADER, offset: 16, length: 4 }, Uint8Array.of(127, 0, 0, 11)),
        ...setField({ base: TRANSPORT_HEADER, offset: 2, length: 2 }, Uint8Array.of(0xf0, 0x0d), 6),
      ]),
    ]),
  );
  const text = rule?.payload.toString("latin1") ?? "";
  const names = [...text.matchAll(/(payload|cmp|immediate)\0/g)].map((match) => match[1]);
  assert.deepEqual(names, ["payload", "cmp", "immediate", "payload"]);
  assert.ok(text.includes("\x7f\0\0\x0b"));
  assert.ok(text.includes("\xf0\x0d"));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeName, RCODE, type RecordData, writeAnswer } from "#networks/dns/answer.ts";
import { CLASS_IN, HEADER_SIZE, Query, TYPE } from "#networks/dns/query.ts";

/** A question as a client writes it. */
function question(
  name: string,
  type: number,
  options: { id?: number; flags?: number; edns?: number } = {},
): Buffer {
  const { id = 0x1234, flags = 0x0100, edns } = options;
  const head = Buffer.alloc(HEADER_SIZE);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(flags, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(edns === undefined ? 0 : 1, 10);
  const encoded = name === "" ? Buffer.alloc(1) : encodeName(name);
  assert.ok(encoded, `${name} is a name`);
  const tail = Buffer.alloc(4);
  tail.writeUInt16BE(type, 0);
  tail.writeUInt16BE(CLASS_IN, 2);
  const opt = Buffer.from([0, 0, TYPE.OPT, 0, 0, 0, 0, 0, 0, 0, 0]);
  if (edns !== undefined) opt.writeUInt16BE(edns, 3);
  return Buffer.concat([head, encoded, tail, ...(edns === undefined ? [] : [opt])]);
}

/** What an answer says, read independently of what wrote it. */
function read(message: Buffer) {
  const counts = [4, 6, 8, 10].map((at) => message.readUInt16BE(at));
  const [questions = 0, answers = 0, , additional = 0] = counts;
  let at = HEADER_SIZE;
  if (questions === 1) {
    while (message[at] !== 0) at += 1 + (message[at] as number);
    at += 5;
  }
  const records: { type: number; ttl: number; data: string }[] = [];
  for (let index = 0; index < answers; index++) {
    assert.equal(message.readUInt16BE(at), 0xc00c);
    const length = message.readUInt16BE(at + 10);
    records.push({
      type: message.readUInt16BE(at + 2),
      ttl: message.readUInt32BE(at + 6),
      data: message.toString("hex", at + 12, at + 12 + length),
    });
    at += 12 + length;
  }
  if (additional === 1) at += 11;
  assert.equal(at, message.length, "nothing is left over");
  const flags = message.readUInt16BE(2);
  return {
    id: message.readUInt16BE(0),
    rcode: flags & 0xf,
    truncated: (flags & 0x200) !== 0,
    flags,
    records,
    additional,
  };
}

function answer(message: Buffer, rcode: number, records: RecordData[], limit = 512, first = 0): Buffer {
  const query = new Query();
  assert.equal(query.read(message, 0, message.length), "ok");
  const out = Buffer.alloc(limit + 64, 0xee);
  const length = writeAnswer(out, 32, limit, query, message, 0, rcode, records, first);
  assert.ok(length <= limit);
  assert.ok(
    out.subarray(0, 32).every((byte) => byte === 0xee),
    "nothing before it is touched",
  );
  assert.ok(
    out.subarray(32 + length).every((byte) => byte === 0xee),
    "nor behind",
  );
  return out.subarray(32, 32 + length);
}

const a = (last: number): RecordData => ({ type: TYPE.A, data: Uint8Array.of(10, 0, 0, last) });
const label = fc
  .array(fc.constantFrom(..."abcXYZ019-_"), { minLength: 1, maxLength: 20 })
  .map((letters) => letters.join(""));
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join("."));

test("a question is read as it was written, with its name in lower case", () => {
  fc.assert(
    fc.property(
      name,
      fc.nat(0xffff),
      fc.nat(0xffff),
      fc.option(fc.integer({ min: 0, max: 0xffff }), { nil: undefined }),
      fc.nat(40),
      (text, type, id, edns, before) => {
        const message = question(text, type, { id, ...(edns !== undefined && { edns }) });
        const query = new Query();
        const bytes = Buffer.concat([Buffer.alloc(before, 0xff), message, Buffer.alloc(9, 0xff)]);
        assert.equal(query.read(bytes, before, message.length), "ok");
        assert.equal(query.name, text.toLowerCase());
        assert.deepEqual([query.id, query.type, query.class], [id, type, CLASS_IN]);
        assert.equal(query.end, HEADER_SIZE + text.length + 2 + 4);
        assert.equal(query.edns, edns !== undefined);
        assert.equal(query.size, Math.max(512, edns ?? 0));
      },
    ),
  );
});

test("whatever comes is read without failing, and never beyond its end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(20), (bytes, before) => {
      const query = new Query();
      const around = Buffer.concat([Buffer.alloc(before, 1), bytes, Buffer.alloc(300, 1)]);
      const reading = query.read(around, before, bytes.length);
      assert.ok(["ok", "ignore", "malformed", "unknown"].includes(reading));
      if (reading === "ok") assert.ok(query.end <= bytes.length);
      // The same message alone reads the same: nothing around it has a say.
      assert.equal(new Query().read(Buffer.from(bytes), 0, bytes.length), reading);
    }),
    { numRuns: 500 },
  );
});

test("a message cut or changed anywhere is answered or dropped, never answered wrongly", () => {
  const whole = question("web.shop.example", TYPE.A, { edns: 1232 });
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(whole.length - 1), fc.nat(255), (cut, at, byte) => {
      const message = Buffer.from(whole);
      message[at] = byte;
      const query = new Query();
      const reading = query.read(message, 0, cut);
      if (reading === "ignore") return;
      const out = Buffer.alloc(600);
      const rcode = reading === "ok" ? RCODE.NOERROR : RCODE.FORMERR;
      const length = writeAnswer(out, 0, 512, query, message, 0, rcode);
      const said = read(out.subarray(0, length));
      assert.equal(said.id, message.readUInt16BE(0));
      assert.ok((said.flags & 0x8000) !== 0);
    }),
  );
});

test("answers, more than one question, and other operations are none of ours", () => {
  const reading = (change: (message: Buffer) => void) => {
    const message = question("web", TYPE.A);
    change(message);
    return new Query().read(message, 0, message.length);
  };
  assert.equal(
    reading((message) => message.writeUInt16BE(0x8180, 2)),
    "ignore",
  );
  assert.equal(
    reading((message) => message.writeUInt16BE(2, 4)),
    "malformed",
  );
  assert.equal(
    reading((message) => message.writeUInt16BE(0x2800, 2)),
    "unknown",
  );
  // A compressed name in a question could only point at itself.
  assert.equal(
    reading((message) => message.writeUInt16BE(0xc00c, HEADER_SIZE)),
    "malformed",
  );
});

test("a label with a dot in it is no container's name", () => {
  const message = question("web-shop", TYPE.A);
  message[HEADER_SIZE + 4] = ".".charCodeAt(0);
  const query = new Query();
  assert.equal(query.read(message, 0, message.length), "ok");
  assert.equal(query.name, undefined);
});

test("the root has the empty name", () => {
  const message = question("", 2);
  const query = new Query();
  assert.equal(query.read(message, 0, message.length), "ok");
  assert.equal(query.name, "");
});

test("an answer repeats the question as it came and has the records in turn", () => {
  const message = question("WeB", TYPE.A, { id: 7 });
  const said = answer(message, RCODE.NOERROR, [a(1), a(2), a(3)], 512, 4);
  assert.deepEqual(read(said), {
    id: 7,
    rcode: 0,
    truncated: false,
    flags: 0x8180,
    records: [2, 3, 1].map((last) => ({ type: TYPE.A, ttl: 600, data: `0a00000${last}` })),
    additional: 0,
  });
  assert.deepEqual(said.subarray(HEADER_SIZE, message.length), message.subarray(HEADER_SIZE));
});

test("an answer never exceeds its limit; what is left out is said to be", () => {
  fc.assert(
    fc.property(
      name,
      fc.nat(200),
      fc.integer({ min: 512, max: 4096 }),
      fc.boolean(),
      (text, count, limit, edns) => {
        const message = question(text, TYPE.A, edns ? { edns: limit } : {});
        const records = Array.from({ length: count }, (_, index) => a(index));
        const said = read(answer(message, RCODE.NOERROR, records, limit));
        assert.equal(said.truncated, said.records.length < count);
        assert.equal(said.additional, edns ? 1 : 0);
        // As many as there is room for.
        const size = message.length + 16 * (said.records.length + 1);
        if (said.truncated) assert.ok(size > limit);
      },
    ),
  );
});

test("names that don't fit into a message are none", () => {
  assert.equal(encodeName("web.shop")?.toString("latin1"), "\x03web\x04shop\0");
  assert.equal(encodeName("a..b"), undefined);
  assert.equal(encodeName("x".repeat(64)), undefined);
  assert.equal(encodeName(Array.from({ length: 90 }, () => "xx").join(".")), undefined);
});

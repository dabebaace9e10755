import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FUSE_MAJOR, OPCODE, SIZE } from "#kernel/fuse/fuse-protocol.ts";
import { decodeDevice, encodeDevice, FuseReply, StatusView } from "#kernel/fuse/fuse-reply.ts";
import { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import { decodePath, pathBytes } from "#kernel/path-bytes.ts";

/** A request as the kernel lays it out. */
function request(opcode: number, node: bigint, body: Uint8Array, extensions = 0): FuseRequest {
  const made = new FuseRequest(70_000);
  const length = SIZE.IN_HEADER + body.length + extensions * 8;
  made.buffer.writeUInt32LE(length, 0);
  made.buffer.writeUInt32LE(opcode, 4);
  made.buffer.writeBigUInt64LE(0x8000_0000_0000_0004n, 8);
  made.buffer.writeBigUInt64LE(node, 16);
  made.buffer.writeUInt32LE(1000, 24);
  made.buffer.writeUInt32LE(1001, 28);
  made.buffer.writeUInt32LE(4242, 32);
  made.buffer.writeUInt16LE(extensions, 36);
  made.buffer.set(body, SIZE.IN_HEADER);
  assert.ok(made.begin(length));
  return made;
}

test("a header is taken apart", () => {
  const made = request(OPCODE.LOOKUP, 5n, Buffer.from("name\0"));
  assert.equal(made.opcode, OPCODE.LOOKUP);
  assert.equal(made.node, 5);
  assert.deepEqual([made.uniqueLow, made.uniqueHigh], [4, 0x8000_0000]);
  assert.deepEqual([made.uid, made.gid, made.pid], [1000, 1001, 4242]);
  assert.equal(made.name(0), "name");
});

test("what is cut short, or says another length than it has, is no request", () => {
  const made = new FuseRequest(8192);
  assert.equal(made.begin(0), false);
  assert.equal(made.begin(SIZE.IN_HEADER - 1), false);
  made.buffer.writeUInt32LE(100, 0);
  assert.equal(made.begin(99), false);
  assert.equal(made.begin(100), true);
  // Extensions longer than the whole.
  made.buffer.writeUInt16LE(50, 36);
  assert.equal(made.begin(100), false);
});

test("names, of any bytes, come back as they were", () => {
  const name = fc
    .uint8Array({ minLength: 1, maxLength: 255 })
    .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x41 : byte)));
  fc.assert(
    fc.property(name, name, (one, other) => {
      const body = Buffer.concat([Buffer.alloc(8), one, Buffer.from([0]), other, Buffer.from([0])]);
      const made = request(OPCODE.RENAME, 1n, body, 1);
      assert.deepEqual(Buffer.from(pathBytes(made.name(8))), Buffer.from(one));
      assert.deepEqual(Buffer.from(pathBytes(made.name(made.after(8)))), Buffer.from(other));
    }),
    { numRuns: 500 },
  );
});

test("a name without an end ends with the request", () => {
  const made = request(OPCODE.LOOKUP, 1n, Buffer.from("unended"));
  made.buffer.fill(0x61, SIZE.IN_HEADER + 7);
  assert.equal(made.name(0), "unended");
  assert.equal(made.data(0, 5000).length, 7);
});

test("numbers of 64 bits are exact as far as numbers are", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const body = Buffer.alloc(16);
      body.writeBigUInt64LE(BigInt(value), 0);
      body.writeBigInt64LE(-BigInt(value), 8);
      const made = request(OPCODE.READ, BigInt(value), body);
      assert.equal(made.node, value);
      assert.equal(made.u64(0), value);
      assert.equal(made.i64(8), -value || 0);
      const reply = new FuseReply(64);
      reply.u64(8, value);
      assert.equal(reply.buffer.readBigUInt64LE(SIZE.OUT_HEADER + 8), BigInt(value));
    }),
  );
});

test("an answer has the length, the error below zero and the number of its request", () => {
  const reply = new FuseReply(64);
  assert.equal(reply.finish(7, 0x8000_0000, 0, 2), 16);
  assert.equal(reply.buffer.readUInt32LE(0), 16);
  assert.equal(reply.buffer.readInt32LE(4), -2);
  assert.equal(reply.buffer.readBigUInt64LE(8), 0x8000_0000_0000_0007n);
  assert.equal(reply.finishNotice(FUSE_MAJOR, 8), 24);
  assert.equal(reply.buffer.readInt32LE(4), FUSE_MAJOR);
  assert.equal(reply.buffer.readBigUInt64LE(8), 0n);
});

test("attributes are those of the status", () => {
  const status = new StatusView();
  const { bytes } = status;
  bytes.writeUInt32LE(4096, 0x04);
  bytes.writeUInt32LE(3, 0x10);
  bytes.writeUInt32LE(1000, 0x14);
  bytes.writeUInt32LE(1001, 0x18);
  bytes.writeUInt16LE(0o104755, 0x1c);
  bytes.writeBigUInt64LE(77n, 0x20);
  bytes.writeBigUInt64LE(0x1_0000_0005n, 0x28);
  bytes.writeBigUInt64LE(8n, 0x30);
  for (const [index, at] of [0x40, 0x60, 0x70].entries()) {
    bytes.writeBigInt64LE(BigInt(-100 - index), at);
    bytes.writeUInt32LE(500 + index, at + 8);
  }
  bytes.writeUInt32LE(259, 0x80);
  bytes.writeUInt32LE(70_000, 0x84);
  const reply = new FuseReply(SIZE.ENTRY_OUT);
  reply.entry(0, 12, status, 99, 2);
  const entry = reply.data(0, SIZE.ENTRY_OUT);
  assert.equal(entry.readBigUInt64LE(0), 12n);
  const attributes = entry.subarray(40);
  const at = (offset: number) => attributes.readBigInt64LE(offset);
  assert.deepEqual([at(0), at(8), at(16)], [99n, 0x1_0000_0005n, 8n]);
  assert.deepEqual([at(24), at(32), at(40)], [-100n, -102n, -101n]);
  const words = Array.from({ length: 10 }, (_, index) => attributes.readUInt32LE(48 + index * 4));
  assert.deepEqual(words, [500, 502, 501, 0o104755, 2, 1000, 1001, encodeDevice(259, 70_000), 4096, 0]);
});

test("device numbers come back as they were", () => {
  fc.assert(
    fc.property(fc.nat(0xfff), fc.nat(0xfffff), (major, minor) => {
      assert.deepEqual(decodeDevice(encodeDevice(major, minor)), { major, minor });
    }),
  );
});

test("entries of a directory are whole or not there, and end at multiples of eight", () => {
  const names = fc.array(
    fc
      .uint8Array({ minLength: 1, maxLength: 255 })
      .map((bytes) => decodePath(bytes.map((byte) => byte || 1))),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(
    fc.property(names, fc.integer({ min: 100, max: 4096 }), (all, limit) => {
      const reply = new FuseReply(4096);
      let end = 0;
      const written: string[] = [];
      for (const [index, name] of all.entries()) {
        const next = reply.directoryEntry(end, limit, index + 1, index + 10, 8, name);
        if (next < 0) break;
        assert.ok(next <= limit && next % 8 === 0);
        end = next;
        written.push(name);
      }
      const found: string[] = [];
      for (let at = 0; at < end; ) {
        const entry = reply.data(at, end - at);
        const length = entry.readUInt32LE(16);
        assert.equal(entry.readBigUInt64LE(0), BigInt(found.length + 1));
        assert.equal(entry.readBigUInt64LE(8), BigInt(found.length + 10));
        found.push(decodePath(entry.subarray(24, 24 + length)));
        at += 24 + Math.ceil(length / 8) * 8;
      }
      assert.deepEqual(found, written);
      if (written.length < all.length) {
        const missed = pathBytes(all[written.length] as string).length;
        assert.ok(end + 24 + Math.ceil(missed / 8) * 8 > limit);
      }
    }),
    { numRuns: 500 },
  );
});

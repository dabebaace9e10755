import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  attributeText,
  MessageWriter,
  NLM_F_ACK,
  parseAttributes,
  parseErrno,
  parseMessages,
  setSequence,
} from "#kernel/netlink/message-codec.ts";

test("a message has length, type, flags and padded attributes", () => {
  const message = new MessageWriter(16, NLM_F_ACK);
  message.bytes(Uint8Array.of(1, 2, 3, 4));
  message.text(3, "lo");
  assert.equal(
    message.finish().toString("hex"),
    // length 28, type 16, flags ACK|REQUEST, sequence, port | family | attribute of 7 bytes, padded to 8
    "1c0000001000050000000000000000000102030407000300".concat("6c6f0000"),
  );
});

test("nested attributes carry their flag and the length of what they hold", () => {
  const message = new MessageWriter(16, 0);
  message.nested(18, () => {
    message.text(1, "veth");
    message.u32(2, 7);
  });
  const [parsed] = parseMessages(message.finish());
  assert.ok(parsed);
  assert.equal(parsed.payload.readUInt16LE(2), 18 | 0x8000);
  const inner = parseAttributes(parseAttributes(parsed.payload).get(18) ?? Buffer.alloc(0));
  assert.equal(attributeText(inner.get(1) ?? Buffer.alloc(0)), "veth");
  assert.equal(inner.get(2)?.readUInt32LE(0), 7);
});

test("the offset of an attribute's value is where it lies in the finished message", () => {
  const message = new MessageWriter(16, 0);
  message.text(1, "abc");
  const at = message.u32(19, 0xabcdef);
  assert.equal(message.finish().readUInt32LE(at), 0xabcdef);
});

test("attributes of any size come back as they were written", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 900 })), {
        selector: ([type]) => type,
        maxLength: 20,
      }),
      (attributes) => {
        const message = new MessageWriter(1, 0);
        for (const [type, value] of attributes) message.attribute(type, value);
        const [parsed] = parseMessages(message.finish());
        assert.ok(parsed);
        const read = parseAttributes(parsed.payload);
        assert.equal(read.size, attributes.length);
        for (const [type, value] of attributes) {
          assert.deepEqual(read.get(type), Buffer.from(value));
        }
      },
    ),
  );
});

test("arbitrary bytes are parsed without throwing and never past their end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      let total = 0;
      for (const message of parseMessages(buffer)) total += message.payload.length;
      for (const value of parseAttributes(buffer).values()) assert.ok(value.length <= buffer.length);
      assert.ok(total <= buffer.length);
    }),
  );
});

test("several messages in one datagram, and the errno of an answer", () => {
  const first = new MessageWriter(2, 0).bytes(Buffer.from("efffffff00000000", "hex")).finish();
  const second = new MessageWriter(3, 0).finish();
  setSequence(second, 9);
  const messages = parseMessages(Buffer.concat([first, second]));
  assert.deepEqual(
    messages.map((message) => [message.type, message.sequence]),
    [
      [2, 0],
      [3, 9],
    ],
  );
  assert.equal(parseErrno(messages[0]?.payload ?? Buffer.alloc(4)), 17);
});

/** What is said over each protocol, as its description has it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync, inflateSync } from "node:zlib";
import { decode, ExtensionCodec } from "@msgpack/msgpack";
import fc from "fast-check";
import type { GelfOptions } from "#logs/options/gelf-options.ts";
import type { SyslogFormat } from "#logs/options/syslog-options.ts";
import { fluentdMessage } from "#logs/sinks/fluentd-message.ts";
import { compressGelf, gelfDatagrams, gelfMessage } from "#logs/sinks/gelf-message.ts";
import { journalMessage } from "#logs/sinks/journal-message.ts";
import type { Event } from "#logs/sinks/sink.ts";
import { splunkEvent } from "#logs/sinks/splunk-message.ts";
import { syslogMessage } from "#logs/sinks/syslog-message.ts";

const TIME = 1_767_323_045_123_456_789n; // 2026-01-02T03:04:05.123456789Z

function eventOf(text: string, more: Partial<Event> = {}): Event {
  return { stream: "stdout", time: TIME, line: Buffer.from(text), partial: undefined, ...more };
}

const event: fc.Arbitrary<Event> = fc.record({
  stream: fc.constantFrom("stdout" as const, "stderr" as const),
  time: fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }),
  line: fc.string({ unit: "grapheme", maxLength: 200 }).map((text) => Buffer.from(text)),
  partial: fc.option(fc.record({ id: fc.string(), ordinal: fc.nat(), last: fc.boolean() }), {
    nil: undefined,
  }),
});
/** msgpack's decoder, the other side here, refuses the one name. */
const name = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => text !== "__proto__");
const fields = fc.dictionary(name, fc.string({ unit: "grapheme" }), {
  noNullPrototype: true,
});

test("syslog in its formats", () => {
  const header = { facility: 3, tag: "t", hostName: "h", pid: 7, counted: false };
  const message = (format: SyslogFormat, counted = false, stream: Event["stream"] = "stdout") =>
    syslogMessage(eventOf("text", { stream }), { ...header, format, counted }).toString();
  // In the machine's own zone, which may be off by quarters of an hour.
  assert.match(message(""), /^<30>Jan {2}[123] \d\d:\d[49]:05 t\[7\]: text\n$/);
  assert.match(message("rfc3164", false, "stderr"), /^<27>Jan {2}[123] \d\d:\d[49]:05 h t\[7\]: text\n$/);
  assert.equal(message("rfc5424"), "<30>1 2026-01-02T03:04:05Z h t 7 t - text\n");
  assert.equal(message("rfc5424micro"), "<30>1 2026-01-02T03:04:05.123456Z h t 7 t - text\n");
  assert.equal(message("rfc5424", true), "42 <30>1 2026-01-02T03:04:05Z h t 7 t - text\n");
});

test("syslog: counted messages can be taken apart whatever is in them", () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 20 }), (events) => {
      const header = {
        facility: 3,
        format: "rfc5424" as const,
        tag: "t",
        hostName: "h",
        pid: 7,
        counted: true,
      };
      let rest = Buffer.concat(events.map((one) => syslogMessage(one, header)));
      for (const one of events) {
        const space = rest.indexOf(" ");
        const length = Number(rest.subarray(0, space));
        const message = rest.subarray(space + 1, space + 1 + length);
        assert.ok(message.subarray(message.indexOf(" - ") + 3, -1).equals(one.line));
        rest = rest.subarray(space + 1 + length);
      }
      assert.equal(rest.length, 0);
    }),
  );
});

test("gelf: messages are JSON with every field, compressed as asked, and chunks are put together again", () => {
  fc.assert(
    fc.property(
      event,
      fields,
      fc.constantFrom<GelfOptions["compression"]>("gzip", "zlib", "none"),
      fc.integer({ min: 1, max: 200 }),
      (one, more, compression, repeat) => {
        const long = { ...one, line: Buffer.from(Buffer.from(one.line).toString().repeat(repeat)) };
        const options = { compression, level: 1 } as GelfOptions;
        const datagrams = gelfDatagrams(compressGelf(gelfMessage(long, more), options));
        let whole: Buffer;
        if (datagrams.length === 1) [whole = Buffer.alloc(0)] = datagrams;
        else {
          const parts = datagrams.map((datagram, index) => {
            assert.ok(datagram.length <= 1420);
            assert.deepEqual(
              [...datagram.subarray(0, 2), datagram[10], datagram[11]],
              [0x1e, 0x0f, index, datagrams.length],
            );
            assert.ok(datagram.subarray(2, 10).equals(datagrams[0]?.subarray(2, 10) ?? Buffer.alloc(0)));
            return datagram.subarray(12);
          });
          whole = Buffer.concat(parts);
        }
        const plain =
          compression === "gzip" ? gunzipSync(whole) : compression === "zlib" ? inflateSync(whole) : whole;
        const message = JSON.parse(plain.toString());
        assert.equal(message.short_message, Buffer.from(long.line).toString());
        assert.equal(message.level, one.stream === "stdout" ? 6 : 3);
        assert.ok(Math.abs(message.timestamp - Number(one.time) / 1e9) < 0.01);
        for (const [key, value] of Object.entries(more))
          if (!(key in { short_message: 0, timestamp: 0, level: 0 })) assert.equal(message[key], value);
      },
    ),
    { numRuns: 200 },
  );
});

test("gelf: what takes more than 128 chunks is not sent", () => {
  assert.equal(gelfDatagrams(Buffer.alloc(1420)).length, 1);
  assert.equal(gelfDatagrams(Buffer.alloc(1408 * 128)).length, 128);
  assert.equal(gelfDatagrams(Buffer.alloc(1408 * 128 + 1)).length, 0);
});

test("journal: fields are taken apart whatever is in them", () => {
  const named = fc.dictionary(fc.stringMatching(/^[A-Z][A-Z0-9_]{0,20}$/), fc.string({ unit: "grapheme" }), {
    noNullPrototype: true,
  });
  fc.assert(
    fc.property(event, named, fc.boolean(), (one, more, newline) => {
      const sent = newline ? { ...one, line: Buffer.concat([one.line, Buffer.from("\nx")]) } : one;
      const got = journalFields(journalMessage(sent, more));
      assert.equal(got.get("MESSAGE"), Buffer.from(sent.line).toString());
      assert.equal(got.get("PRIORITY"), one.stream === "stdout" ? "6" : "3");
      for (const [name, value] of Object.entries(more))
        if (!["MESSAGE", "PRIORITY", "SYSLOG_TIMESTAMP"].includes(name)) assert.equal(got.get(name), value);
      assert.equal(
        got.get("CONTAINER_PARTIAL_MESSAGE"),
        one.partial && !one.partial.last ? "true" : undefined,
      );
    }),
  );
});

function journalFields(bytes: Buffer): Map<string, string> {
  const found = new Map<string, string>();
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf("\n", at);
    const equals = bytes.subarray(at, end).indexOf("=");
    if (equals >= 0) {
      found.set(bytes.toString("utf8", at, at + equals), bytes.toString("utf8", at + equals + 1, end));
      at = end + 1;
    } else {
      const length = Number(bytes.readBigUInt64LE(end + 1));
      found.set(bytes.toString("utf8", at, end), bytes.toString("utf8", end + 9, end + 9 + length));
      at = end + 9 + length + 1;
    }
  }
  return found;
}

test("fluentd: tag, entries and options, with event times where asked", () => {
  const extensionCodec = new ExtensionCodec();
  extensionCodec.register({
    type: 0,
    encode: () => null,
    decode: (bytes) => {
      const view = Buffer.from(bytes);
      return [view.readUInt32BE(0), view.readUInt32BE(4)];
    },
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 10 }), fields, fc.boolean(), (events, more, subSecond) => {
      const bytes = fluentdMessage(events, { tag: "t.x", fields: more, subSecond, chunk: "abc" });
      const [tag, entries, options] = decode(bytes, { extensionCodec }) as [
        string,
        [unknown, Record<string, string>][],
        unknown,
      ];
      assert.deepEqual([tag, options], ["t.x", { size: events.length, chunk: "abc" }]);
      assert.equal(entries.length, events.length);
      for (const [index, [time, record]] of entries.entries()) {
        const one = events[index] as Event;
        const seconds = Number(one.time / 1_000_000_000n);
        assert.deepEqual(time, subSecond ? [seconds, Number(one.time % 1_000_000_000n)] : seconds);
        assert.deepEqual([record.source, record.log], [one.stream, Buffer.from(one.line).toString()]);
        assert.equal(record.partial_last, one.partial && String(one.partial.last));
      }
    }),
  );
});

test("splunk in its formats", () => {
  const options = {
    url: "",
    token: "",
    source: "s",
    sourceType: "st",
    index: "i",
    format: "inline" as const,
    gzip: undefined,
    ca: undefined,
    caName: "",
    skipVerify: false,
    acknowledge: false,
  };
  const plan = { kind: "splunk" as const, options, tag: "t", hostName: "h", attributes: { a: "1" } };
  const send = (text: string, format: "inline" | "json" | "raw") =>
    splunkEvent(eventOf(text), { ...plan, options: { ...options, format } });
  const common = { time: "1767323045.123456", host: "h", source: "s", sourcetype: "st", index: "i" };
  const about = { source: "stdout", tag: "t", attrs: { a: "1" } };
  assert.deepEqual(JSON.parse(send("x", "inline") ?? ""), { ...common, event: { line: "x", ...about } });
  assert.deepEqual(JSON.parse(send('{"k":1}', "json") ?? ""), {
    ...common,
    event: { line: { k: 1 }, ...about },
  });
  assert.deepEqual(JSON.parse(send("{k", "json") ?? ""), { ...common, event: { line: "{k", ...about } });
  assert.deepEqual(JSON.parse(send("x y", "raw") ?? ""), { ...common, event: "t a=1 x y" });
  assert.equal(send("  ", "raw"), undefined);
});

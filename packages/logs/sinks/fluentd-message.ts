/** Messages of fluentd's forward protocol, version 1: a tag, entries of time and record, options. Pure. */
import { ExtensionCodec, encode } from "@msgpack/msgpack";
import type { Event } from "#logs/sinks/sink.ts";

/** Seconds and nanoseconds, four bytes each: extension type 0. */
class EventTime {
  readonly nanoseconds: bigint;

  constructor(nanoseconds: bigint) {
    this.nanoseconds = nanoseconds;
  }
}

const EVENT_TIME = 0;
const SECOND = 1_000_000_000n;
const extensionCodec = new ExtensionCodec();
extensionCodec.register({
  type: EVENT_TIME,
  encode: (value) => {
    if (!(value instanceof EventTime)) return null;
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(Number(value.nanoseconds / SECOND), 0);
    bytes.writeUInt32BE(Number(value.nanoseconds % SECOND), 4);
    return bytes;
  },
  decode: (bytes) => {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new EventTime(BigInt(view.readUInt32BE(0)) * SECOND + BigInt(view.readUInt32BE(4)));
  },
});

export interface FluentdHeader {
  tag: string;
  fields: Readonly<Record<string, string>>;
  subSecond: boolean;
  /** The other side is to answer with it. */
  chunk: string | undefined;
}

export function fluentdMessage(events: readonly Event[], header: FluentdHeader): Uint8Array {
  const entries = events.map((event) => [
    header.subSecond ? new EventTime(event.time) : Number(event.time / SECOND),
    record(event, header.fields),
  ]);
  const options = { size: events.length, ...(header.chunk === undefined ? {} : { chunk: header.chunk }) };
  return encode([header.tag, entries, options], { extensionCodec });
}

function record(event: Event, fields: Readonly<Record<string, string>>): Record<string, string> {
  const { partial } = event;
  return {
    ...fields,
    source: event.stream,
    log: Buffer.from(event.line.buffer, event.line.byteOffset, event.line.byteLength).toString(),
    ...(partial === undefined
      ? {}
      : {
          partial_message: "true",
          partial_id: partial.id,
          partial_ordinal: String(partial.ordinal),
          partial_last: String(partial.last),
        }),
  };
}

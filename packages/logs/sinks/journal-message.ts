/** Messages of the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). Pure. */
import { fixedTime } from "#logs/log-entry.ts";
import type { Event } from "#logs/sinks/sink.ts";

const PRIORITY = { stdout: "6", stderr: "3" } as const;

export function journalMessage(event: Event, fields: Readonly<Record<string, string>>): Buffer {
  const { partial } = event;
  const parts = [
    ...Object.entries(fields).flatMap(([name, value]) => field(name, Buffer.from(value))),
    ...field("PRIORITY", Buffer.from(PRIORITY[event.stream])),
    ...field("SYSLOG_TIMESTAMP", Buffer.from(fixedTime(event.time))),
    ...field("MESSAGE", Buffer.from(event.line.buffer, event.line.byteOffset, event.line.byteLength)),
  ];
  if (partial !== undefined) {
    if (!partial.last) parts.push(...field("CONTAINER_PARTIAL_MESSAGE", Buffer.from("true")));
    parts.push(
      ...field("CONTAINER_PARTIAL_ID", Buffer.from(partial.id)),
      ...field("CONTAINER_PARTIAL_ORDINAL", Buffer.from(String(partial.ordinal))),
      ...field("CONTAINER_PARTIAL_LAST", Buffer.from(String(partial.last))),
    );
  }
  return Buffer.concat(parts);
}

/** NAME=value, or with its length in eight bytes where the value has newlines. */
function field(name: string, value: Buffer): Buffer[] {
  const newline = Buffer.from("\n");
  if (!value.includes("\n")) return [Buffer.from(`${name}=`), value, newline];
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return [Buffer.from(`${name}\n`), length, value, newline];
}

/** How an entry leaves: timestamps and attributes before the text, Docker's frame around it. Pure. */
import { fixedTime, type LogEntry } from "#logs/log-entry.ts";
import type { LogReadOptions } from "#logs/log-types.ts";

const FRAME_HEAD = 8;

/** The bytes of one entry as the client gets them; undefined if it wants none of it. */
export function formatEntry(entry: LogEntry, options: LogReadOptions): Buffer | undefined {
  if (!(entry.stream === "stdout" ? options.stdout : options.stderr)) return undefined;
  const time = options.timestamps ? `${fixedTime(entry.time)} ` : "";
  const details = options.details ? `${attributeText(entry.attributes)} ` : "";
  const before = time + details;
  const head = options.framed ? FRAME_HEAD : 0;
  const { text } = entry;
  const textLength = typeof text === "string" ? Buffer.byteLength(text) : text.length;
  const length = Buffer.byteLength(before) + textLength;
  const bytes = Buffer.allocUnsafe(head + length);
  if (options.framed) {
    bytes.writeUInt32BE(entry.stream === "stdout" ? 0x01000000 : 0x02000000, 0);
    bytes.writeUInt32BE(length, 4);
  }
  const at = head + bytes.write(before, head);
  if (typeof text === "string") bytes.write(text, at);
  else bytes.set(text, at);
  return bytes;
}

/** "a=b,c=d", sorted, escaped as in a query. */
function attributeText(attributes: Readonly<Record<string, string>>): string {
  return Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${queryEscape(key)}=${queryEscape(value)}`)
    .join(",");
}

/** As Go's url.QueryEscape: a space becomes a plus, and of the marks only - _ . ~ are left. */
function queryEscape(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll("%20", "+");
}

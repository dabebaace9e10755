/** How an entry leaves: timestamps and attributes before the text, Docker's frame around it. Pure. */
import { fixedTime, type LogEntry } from "#logs/log-entry.ts";
import type { LogReadOptions } from "#logs/log-types.ts";

const FRAME_HEAD = 8;

/** The bytes of one entry as the client gets them; undefined if it wants none of it. */
export function formatEntry(entry: LogEntry, options: LogReadOptions): Buffer | undefined {
  if (!(entry.stream === "stdout" ? options.stdout : options.stderr)) return undefined;
  const time = options.timestamps ? `${fixedTime(entry.time)} ` : "";
  const details = options.details ? `${attributeText(entry.attributes)} ` : "";
  const text = `${time}${details}${entry.text}`;
  if (!options.framed) return Buffer.from(text);
  const length = Buffer.byteLength(text);
  const framed = Buffer.alloc(FRAME_HEAD + length);
  framed[0] = entry.stream === "stdout" ? 1 : 2;
  framed.writeUInt32BE(length, 4);
  framed.write(text, FRAME_HEAD);
  return framed;
}

/** "a=b,c=d", sorted, with the characters that would be taken for separators escaped as in a URL query. */
function attributeText(attributes: Record<string, string>): string {
  return Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .join(",");
}

/** One line of a json-file log: {"log":"text\n","stream":"stdout","time":"…Z","attrs":{…}}. Pure. */
import type { LogEntry } from "#logs/log-entry.ts";

const NONE: Readonly<Record<string, string>> = {};

/** undefined for a line that is no entry (a disk that was full cuts lines short). */
export function parseJsonEntry(line: string): LogEntry | undefined {
  let value: { log?: unknown; stream?: unknown; time?: unknown; attrs?: Record<string, string> };
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value?.log !== "string" || typeof value.time !== "string") return undefined;
  return {
    text: value.log,
    stream: value.stream === "stderr" ? "stderr" : "stdout",
    time: value.time,
    attributes: value.attrs ?? NONE,
  };
}

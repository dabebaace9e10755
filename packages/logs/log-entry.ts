/** One line of a json-file log: {"log":"text\n","stream":"stdout","time":"…Z","attrs":{…}}. Pure. */

export interface LogEntry {
  text: string;
  stream: "stdout" | "stderr";
  /** As written: RFC 3339 with nanoseconds, trailing zeros of the fraction cut. */
  time: string;
  attributes: Record<string, string>;
}

/** undefined for a line that is no entry (a disk that was full cuts lines short). */
export function parseEntry(line: string): LogEntry | undefined {
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
    attributes: value.attrs ?? {},
  };
}

/** "2026-01-02T03:04:05.6Z" as nanoseconds since the epoch; undefined if it is no such time. */
export function timeOf(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  if (match === null) return undefined;
  const seconds = Date.parse(`${match[1]}Z`) / 1000;
  if (Number.isNaN(seconds)) return undefined;
  return BigInt(seconds) * 1_000_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}

/** With all nine digits of the fraction, as `docker logs --timestamps` prints it. */
export function fixedTime(text: string): string {
  const [whole = "", fraction = ""] = text.slice(0, -1).split(".");
  return `${whole}.${fraction.padEnd(9, "0")}Z`;
}

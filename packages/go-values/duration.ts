/** Durations as users of Docker write them: "1h30m", "500ms", "-1.5s", as Go's time.ParseDuration reads them. Pure. */

const NANOSECONDS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds, whole ones. Throws an Error with Go's text. */
export function parseDuration(text: string): number {
  const shown = JSON.stringify(text);
  const body = text.replace(/^[+-]/, "");
  if (body === "0") return 0;
  if (body === "") throw new Error(`time: invalid duration ${shown}`);
  let total = 0;
  for (let rest = body; rest !== ""; ) {
    const match = /^(\d+\.?\d*|\.\d+)([^\d.]*)/.exec(rest);
    if (match === null) throw new Error(`time: invalid duration ${shown}`);
    const [all, number, unit = ""] = match;
    const factor = NANOSECONDS[unit];
    if (unit === "") throw new Error(`time: missing unit in duration ${shown}`);
    if (factor === undefined)
      throw new Error(`time: unknown unit ${JSON.stringify(unit)} in duration ${shown}`);
    total += Number(number) * factor;
    rest = rest.slice(all.length);
  }
  return Math.round(text.startsWith("-") ? -total : total);
}

/** The same; undefined for what is no duration. */
export function durationOf(text: string): number | undefined {
  try {
    return parseDuration(text);
  } catch {
    return undefined;
  }
}

/** Sizes and shares as Docker's command line reads them: binary multiples whatever the letter case ("64m", "1.5GiB"). */

const EXPONENTS = ["", "k", "m", "g", "t", "p"];
/** What Go takes for a number with a fraction. */
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/** Bytes of "64m", "1.5g", "100kb". Throws Error in Docker's words, which tell number and suffix apart. */
export function parseMemory(text: string): number {
  // Up to the last digit, point or space it is the number.
  const [, before, suffix = ""] = /^(.*[\d. ])([^\d. ]*)$/s.exec(text) ?? [];
  if (before === undefined) throw new Error(`invalid size: '${text}'`);
  const number = before.replace(/ $/, "");
  if (!NUMBER.test(number)) throw new Error(`strconv.ParseFloat: parsing "${number}": invalid syntax`);
  if (Number(number) < 0) throw new Error(`invalid size: '${text}'`);
  const unit = /^(?:([kmgtp])(?:i?b)?|b?)$/i.exec(suffix);
  if (unit === null) {
    throw new Error(`invalid suffix: '${suffix.length > 3 ? suffix : suffix.toLowerCase()}'`);
  }
  return Math.trunc(Number(number) * 1024 ** EXPONENTS.indexOf((unit[1] ?? "").toLowerCase()));
}

/** As parseMemory, and "-1" for no limit. */
export function parseMemoryOrUnlimited(text: string): number {
  return text === "-1" ? -1 : parseMemory(text);
}

/** Billionths of a CPU of "1.5". */
export function parseCpus(text: string): number {
  const fraction = /^(\d+)\/(\d+)$/.exec(text);
  if (!fraction && !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text))
    throw new Error(`failed to parse ${text} as a rational number`);
  const value = fraction ? Number(fraction[1]) / Number(fraction[2]) : Number(text);
  const nano = Number((value * 1e9).toPrecision(15));
  if (!Number.isInteger(nano)) throw new Error("value is too precise");
  return nano;
}

/**
 * Sizes as Docker reads and writes them (go-units): in, multiples of 1024 or 1000 whatever the letter case ("64m", "1.5 GiB");
 * out, decimal with four or three significant digits ("4.43MB"). Pure.
 */

const PATTERN = /^(\d+(?:\.\d+)*) ?([kmgtp]?)i?b?$/i;
const POWERS = ["", "k", "m", "g", "t", "p"];

/**
 * Bytes of "10", "1.5G", "20 MiB". Undefined if it is no size, or more than a number holds exactly (8 PiB): no kernel takes
 * some of those, and Docker makes negative ones of others.
 */
export function parseSize(text: string, base: 1000 | 1024 = 1024): number | undefined {
  const match = PATTERN.exec(text);
  const amount = Number(match?.[1]);
  if (match === null || Number.isNaN(amount)) return undefined;
  const bytes = Math.floor(amount * base ** POWERS.indexOf((match[2] ?? "").toLowerCase()));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** "4.43MB": decimal units, as many significant digits as asked for (docker images shows 3, progress 4). */
export function humanSize(bytes: number, digits = 4): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
  let size = bytes;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  // Go's %.4g: significant digits, no trailing zeros, an exponent when the digits do not reach the point.
  return `${significant(size, digits)}${units[unit]}`;
}

function significant(size: number, digits: number): string {
  const rounded = size.toPrecision(digits);
  if (rounded.includes("e")) {
    const [mantissa, exponent] = rounded.split("e");
    return `${Number(mantissa)}e${(exponent ?? "").replace(/([+-])(\d)$/, "$10$2")}`;
  }
  return String(Number(rounded));
}

/** Booleans as users of Docker write them in flags, options and filters: the words of Go's strconv.ParseBool. Pure. */

const WORDS = new Map([
  ...["1", "t", "T", "true", "TRUE", "True"].map((word) => [word, true] as const),
  ...["0", "f", "F", "false", "FALSE", "False"].map((word) => [word, false] as const),
]);

/** Undefined for what is neither. */
export function parseBoolean(text: string): boolean | undefined {
  return WORDS.get(text);
}

/** What Go says of such a text; messages of Docker's are made of it. */
export function notBoolean(text: string): string {
  return `strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`;
}

/**
 * Patterns of names as Go's `path.Match` reads them, which Docker's filters use: "*" and "?" do not cross a slash,
 * "[a-z]" and "[^a-z]" are classes, a backslash makes the next character itself.
 */
import { BerthError } from "#errors/errors.ts";

/** A run of characters other than slashes, or a test of one character. */
type Part = "*" | ((character: string) => boolean);

/** A test for names, which looks at each part once for each character. Throws "invalid" for a pattern that is malformed. */
export function pathMatcher(pattern: string): (name: string) => boolean {
  const parts = partsOf([...pattern], pattern);
  const shortest = parts.filter((part) => part !== "*").length;
  return (name) => {
    const characters = [...name];
    return shortest <= characters.length && matches(parts, characters);
  };
}

/** Follows all ways to share the characters out among the stars side by side: there may be very many. */
function matches(parts: readonly Part[], characters: readonly string[]): boolean {
  // How many parts match what has been read so far; a star may also match nothing.
  let reached = new Set(parts[0] === "*" ? [0, 1] : [0]);
  for (const character of characters) {
    const next = new Set<number>();
    for (const count of reached) {
      const part = parts[count];
      if (part === undefined || !(part === "*" ? character !== "/" : part(character))) continue;
      const after = part === "*" ? count : count + 1;
      next.add(after);
      if (parts[after] === "*") next.add(after + 1);
    }
    if (next.size === 0) return false;
    reached = next;
  }
  return reached.has(parts.length);
}

function partsOf(characters: string[], pattern: string): Part[] {
  const parts: Part[] = [];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? "";
    if (character === "*") {
      // Two match what one does.
      if (parts.at(-1) !== "*") parts.push("*");
    } else if (character === "?") {
      parts.push((one) => one !== "/");
    } else if (character === "[") {
      const end = classEnd(characters, at, pattern);
      const expression = new RegExp(`^${classText(characters.slice(at + 1, end), pattern)}$`, "u");
      parts.push((one) => expression.test(one));
      at = end;
    } else {
      const wanted = character === "\\" ? characters[++at] : character;
      if (wanted === undefined) throw malformed(pattern);
      parts.push((one) => one === wanted);
    }
  }
  return parts;
}

/** Where the class that begins at `start` closes. Its first member may not be the bracket itself, unless escaped. */
function classEnd(characters: string[], start: number, pattern: string): number {
  for (let at = start + 1; at < characters.length; at++) {
    if (characters[at] === "\\") at++;
    else if (characters[at] === "]") return at;
  }
  throw malformed(pattern);
}

function classText(members: string[], pattern: string): string {
  const negated = members[0] === "^";
  const rest = negated ? members.slice(1) : members;
  if (rest.length === 0) throw malformed(pattern);
  let text = "";
  for (let at = 0; at < rest.length; ) {
    const [low, afterLow] = member(rest, at, pattern);
    at = afterLow;
    let high = low;
    if (rest[at] === "-") [high, at] = member(rest, at + 1, pattern);
    // Go takes an empty range for a class that nothing is in.
    if (low <= high) text += `${escaped(low)}-${escaped(high)}`;
  }
  if (text === "") return negated ? "[^]" : "[]";
  return negated ? `[^${text}]` : `[${text}]`;
}

function member(rest: string[], at: number, pattern: string): [character: string, next: number] {
  const character = rest[at];
  if (character === undefined || character === "-") throw malformed(pattern);
  if (character !== "\\") return [character, at + 1];
  const next = rest[at + 1];
  if (next === undefined) throw malformed(pattern);
  return [next, at + 2];
}

function escaped(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

function malformed(pattern: string): BerthError {
  return new BerthError("invalid", "syntax error in pattern", {
    operation: "match names",
    object: pattern,
  });
}

/**
 * Patterns of names as Go's `path.Match` reads them, which Docker's filters use: "*" and "?" do not cross a slash,
 * "[a-z]" and "[^a-z]" are classes, a backslash makes the next character itself.
 */
import { BerthError } from "#errors/errors.ts";

/** A test for names. Throws BerthError "invalid" for a pattern that is malformed. */
export function pathMatcher(pattern: string): (name: string) => boolean {
  const expression = new RegExp(`^${translate([...pattern], pattern)}$`, "su");
  return (name) => expression.test(name);
}

function translate(characters: string[], pattern: string): string {
  let text = "";
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? "";
    if (character === "*") text += "[^/]*";
    else if (character === "?") text += "[^/]";
    else if (character === "[") {
      const end = classEnd(characters, at, pattern);
      text += classText(characters.slice(at + 1, end), pattern);
      at = end;
    } else if (character === "\\") text += literal(characters[++at], pattern);
    else text += literal(character, pattern);
  }
  return text;
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

function literal(character: string | undefined, pattern: string): string {
  if (character === undefined) throw malformed(pattern);
  return escaped(character);
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

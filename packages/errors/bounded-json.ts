/**
 * JSON from whoever may send what he likes: a client, a registry, a plugin, an archive. A few megabytes of brackets take
 * JSON.parse seconds, in which nobody else is served; so long texts are looked through before they are parsed. Pure.
 */

/** Nothing shorter can hold up anybody. */
const SHORT = 32 * 1024;
/** As deep as Go's decoder goes is 10,000; what anybody means is not a tenth of a hundred. */
const DEPTH = 1000;
/** Objects, lists, their members: twice what a container with all its 32,768 ports published has. */
const VALUES = 500_000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** As JSON.parse, and throws a SyntaxError as well for what is nested too deep or has too many values. */
export function parseJson(text: string): unknown {
  if (text.length > SHORT) {
    const excess = excessOf(text);
    if (excess !== undefined) throw new SyntaxError(excess);
  }
  return JSON.parse(text) as unknown;
}

/** What there is too much of. */
function excessOf(text: string): string | undefined {
  let depth = 0;
  let count = 1;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at + 1);
        break;
      case COMMA:
        if (++count > VALUES) return `more than ${VALUES} values`;
        break;
      case OPEN_LIST:
      case OPEN_OBJECT:
        if (++depth > DEPTH) return `nested deeper than ${DEPTH}`;
        if (++count > VALUES) return `more than ${VALUES} values`;
        break;
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        depth--;
        break;
    }
  }
  return undefined;
}

/** Where a string ends that has begun before `from`. */
function endOfString(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  return text.length;
}

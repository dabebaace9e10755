/** Streams of JSON values, one a line (pull, load, events). */
import type { Readable } from "node:stream";

/** Yields each value. Throws SyntaxError for a line that is not JSON. */
export async function* jsonLines<T>(source: Readable): AsyncGenerator<T> {
  for await (const line of textLines(source)) yield JSON.parse(line) as T;
}

/** Yields each line that is not empty. */
export async function* textLines(source: Readable): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of source) {
    rest += decoder.decode(chunk as Buffer, { stream: true });
    let end = rest.indexOf("\n");
    while (end >= 0) {
      const line = rest.slice(0, end).trim();
      rest = rest.slice(end + 1);
      if (line !== "") yield line;
      end = rest.indexOf("\n");
    }
  }
  if (rest.trim() !== "") yield rest;
}

/**
 * Bodies that are JSON: Content-Type, size, syntax and shape, each refused in Docker's words where it has
 * them.
 */

import type { IncomingMessage } from "node:http";
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";
import type { RequestBody } from "./request-body.ts";
import type { Shape } from "./shape.ts";

/** Bytes; the largest sensible create body is some ten thousand. */
export const jsonLimit = 4 * 1024 * 1024;

/**
 * Reads a body of that shape. An absent body is the empty object where `optional`, else refused.
 * Throws "invalid" or "too-large".
 */
export async function readJson<T>(
  request: IncomingMessage,
  body: RequestBody,
  shape: Shape<T>,
  { optional = false }: { optional?: boolean } = {},
): Promise<T> {
  checkContentType(request.headers["content-type"], body);
  const bytes = await body.read(jsonLimit);
  if (bytes.length === 0) {
    if (optional) return shape.read({}, "");
    throw invalid("invalid JSON: got EOF while reading request body");
  }
  const value = parse(bytes.toString("utf8"));
  return shape.read(value ?? {}, "");
}

/** Of a Content-Type, without its parameters. */
export function mediaType(header: string): string {
  return header.split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

function checkContentType(header: string | undefined, body: RequestBody): void {
  if (header === undefined || header === "") {
    if (body.length === 0) return;
    throw invalid("malformed Content-Type header (): mime: no media type");
  }
  const type = mediaType(header);
  if (!/^[^\s/]+\/[^\s/]+$/.test(type)) throw invalid(`malformed Content-Type header (${header})`);
  if (type !== "application/json") {
    throw invalid(`unsupported Content-Type header (${header}): must be 'application/json'`);
  }
}

function parse(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : "";
    if (/^Unexpected non-whitespace character after JSON/.test(reason))
      throw invalid("unexpected content after JSON");
    // V8 quotes a piece of the body in its message; a body may hold secrets, so only the place is told.
    const place = /position (\d+)/.exec(reason)?.[1];
    if (/^Unexpected end|^Unterminated/.test(reason) || Number(place) >= text.trimEnd().length) {
      throw invalid("invalid JSON: unexpected EOF");
    }
    if (/^(more than|nested deeper)/.test(reason)) throw invalid(`invalid JSON: ${reason}`);
    throw invalid(
      place === undefined
        ? "invalid JSON: not JSON at all"
        : `invalid JSON: unexpected character at offset ${place}`,
    );
  }
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "read request body" });
}

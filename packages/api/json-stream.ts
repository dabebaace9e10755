/**
 * Answers of one JSON object after another: progress of pull, load and import, and events.
 *
 * The status goes out with the first object; a failure before it is an ordinary error answer, one after it an
 * object in the stream. A client that doesn't read isn't waited for: what it can do without is left out.
 */
import type { ServerResponse } from "node:http";
import type { ProgressMessage } from "#api-types/image.ts";
import type { Logger } from "#errors/logger-types.ts";
import { streamErrorText } from "./error-table.ts";

/** Bytes waiting for a slow client above which moving bars are no longer sent. */
const crowded = 1024 * 1024;

export class ProgressStream {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  report(message: ProgressMessage): void {
    if (this.#response.destroyed) return;
    if (message.progressDetail?.total !== undefined && this.#response.writableLength > crowded) return;
    this.#begin();
    this.#response.write(`${JSON.stringify(message)}\r\n`);
  }

  /** Ends well; without any message the answer is empty, with status 200. */
  end(): void {
    this.#begin();
    this.#response.end();
  }

  /** Ends badly. Throws the error again where it can still be an answer of its own. */
  fail(error: unknown, logger: Logger, operation: string): void {
    if (!this.#response.headersSent) throw error;
    const message = streamErrorText(error, logger, operation);
    this.report({ errorDetail: { message }, error: message });
    this.#response.end();
  }

  #begin(): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { "Content-Type": "application/json" });
  }
}

/** Writes a line for each object until there are no more or the client is gone, waiting where the client is slow. */
export async function streamJsonLines<Item>(
  response: ServerResponse,
  objects: AsyncIterable<Item>,
  signal: AbortSignal,
  lineOf: (object: Item) => string,
): Promise<void> {
  response.writeHead(200, { "Content-Type": "application/json" });
  // Clients wait for the head before they do what they want to see events of.
  response.flushHeaders();
  for await (const object of objects) {
    if (signal.aborted) break;
    if (!response.write(lineOf(object))) await drained(response, signal);
  }
  response.end();
}

/** Resolves when the client has taken what was written, or is gone. */
export function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  if (signal.aborted || response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    response.on("drain", done);
    signal.addEventListener("abort", done);
  });
}

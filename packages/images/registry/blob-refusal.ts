/**
 * An answer that is a refusal, as plain data for the other thread.
 */
import type { BlobResult } from "./blob-messages.ts";
import { type ExchangeResponse, readBody } from "./http-exchange.ts";

const refusalLimit = 64 << 10;

/** Reads the answer to its end. */
export async function refusalOf(response: ExchangeResponse): Promise<BlobResult> {
  const body = (await readBody(response, refusalLimit)).toString("utf8");
  return {
    outcome: "refused",
    status: response.status,
    wwwAuthenticate: response.headers["www-authenticate"],
    retryAfter: response.headers["retry-after"],
    body,
  };
}

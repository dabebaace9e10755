/**
 * The one error type of the engine.
 *
 * Every failure a user may see is a BerthError: what was being done (`operation`), to what (`object`), why
 * (`cause`), and what the user can do about it (`hint`). Only the API edge turns `code` into an HTTP status,
 * in one table. `message` is the text Docker's clients and scripts match on, where Docker has one.
 */

/** What kind of failure it is; the API maps each to exactly one HTTP status. */
export type ErrorCode =
  | "invalid" // the request cannot be right whatever the state: 400
  | "unauthorized" // 401
  | "forbidden" // the state or a policy refuses it for good: 403
  | "not-found" // 404
  | "conflict" // the state as it is now refuses it: 409
  | "not-modified" // it is already as asked: 304
  | "too-large" // 413
  | "internal" // 500
  | "no-space" // disk or address space used up: 500 in Docker's API
  | "start-failed" // the container's process could not be started: 400 (Docker's status for 126/127 texts)
  | "not-implemented" // 501
  | "unavailable"; // 503

export interface ErrorDetail {
  /** What was being done, as a verb phrase: "pull image", "create endpoint". */
  operation: string;
  /** The name or id it was done to. */
  object?: string;
  /** What the user can do; shown after the message on a line of its own. */
  hint?: string;
  cause?: unknown;
}

export class BerthError extends Error {
  readonly code: ErrorCode;
  readonly operation: string;
  readonly object: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "BerthError";
    this.code = code;
    this.operation = detail.operation;
    this.object = detail.object;
    this.hint = detail.hint;
  }
}

/** Is this a BerthError with that code? */
export function isBerthError(error: unknown, code?: ErrorCode): error is BerthError {
  return error instanceof BerthError && (code === undefined || error.code === code);
}

/**
 * The one place where a failure becomes an HTTP status and a body.
 *
 * A BerthError's message goes out as it is, because clients match on it. Its hint goes out as a field of its
 * own beside the message, which Docker's clients ignore and Berth's show; with the statuses of the 5xx range,
 * whose texts nobody compares as a whole, it is also appended to the message on a line of its own. Anything
 * that isn't a BerthError is a defect or a failed system call: 500, logged with its stack under a reference,
 * and the client is told no more than is safe.
 */
import { randomBytes } from "node:crypto";
import { BerthError, type ErrorCode } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";

const statusOf: Readonly<Record<ErrorCode, number>> = {
  invalid: 400,
  "start-failed": 400,
  unauthorized: 401,
  forbidden: 403,
  "not-found": 404,
  conflict: 409,
  "not-modified": 304,
  "too-large": 413,
  internal: 500,
  "no-space": 500,
  "not-implemented": 501,
  unavailable: 503,
};

export interface ErrorAnswer {
  status: number;
  body: { message: string; hint?: string };
}

/** Also logs what only the daemon's log may know. */
export function answerFor(error: unknown, logger: Logger, operation: string): ErrorAnswer {
  if (!(error instanceof BerthError)) return unexpected(error, logger, operation);
  const status = statusOf[error.code];
  if (status === 500) {
    logger.error(error.message, { operation: error.operation, object: error.object, cause: causes(error) });
  }
  if (error.hint === undefined) return { status, body: { message: error.message } };
  const message = status >= 500 ? `${error.message}\n${error.hint}` : error.message;
  return { status, body: { message, hint: error.hint } };
}

/** The text for a stream that is already under way. */
export function streamErrorText(error: unknown, logger: Logger, operation: string): string {
  return answerFor(error, logger, operation).body.message;
}

function unexpected(error: unknown, logger: Logger, operation: string): ErrorAnswer {
  // A client that went away before its answer is no defect; nobody reads this.
  if (error instanceof DOMException && error.name === "AbortError") {
    return { status: 500, body: { message: error.message } };
  }
  if (isSystemError(error) && /^(?:ENOSPC|EDQUOT)$/.test((error as NodeJS.ErrnoException).code ?? "")) {
    return answerFor(fullDisk(error), logger, operation);
  }
  const reference = randomBytes(4).toString("hex");
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  logger.error("unexpected failure", { operation, reference, stack });
  const reason = isSystemError(error) ? `: ${error.message}` : "";
  return {
    status: 500,
    body: { message: `internal error${reason} (reference ${reference} in the daemon's log)` },
  };
}

/** A failed system call, ours or Node's: its message holds the call, paths and the errno, nothing secret. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "errno" in error && ("call" in error || "syscall" in error);
}

/** Wherever a disk turns out to be full it is no defect, and the same helps: Docker's words. */
function fullDisk(cause: NodeJS.ErrnoException): BerthError {
  const call = [cause.syscall ?? "write", cause.path].filter((word) => word !== undefined).join(" ");
  return new BerthError("no-space", `${call}: no space left on device`, {
    operation: "write",
    ...(cause.path !== undefined && { object: cause.path }),
    hint: "free space under the data root, for example by removing unused images: docker image prune",
    cause,
  });
}

function causes(error: BerthError): string | undefined {
  const chain: string[] = [];
  // Bounded: a chain of causes may be a ring.
  for (let cause = error.cause; cause !== undefined && chain.length < 8; ) {
    chain.push(cause instanceof Error ? cause.message : String(cause));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return chain.length === 0 ? undefined : chain.join(" <- ");
}

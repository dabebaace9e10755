import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BerthError, type ErrorCode } from "#errors/errors.ts";
import { type LogFields, type Logger, silentLogger } from "#errors/logger-types.ts";
import { answerFor } from "./error-table.ts";

const error = (code: ErrorCode, hint?: string) =>
  new BerthError(code, "what happened", { operation: "x", ...(hint === undefined ? {} : { hint }) });

describe("error answers", () => {
  it("tell a full disk in Docker's words, whoever ran into it", () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      code: "ENOSPC",
      errno: -28,
      syscall: "write",
    });
    const { status, body } = answerFor(full, silentLogger, "ContainerCreate");
    assert.equal(status, 500);
    assert.match(body.message, /^write: no space left on device\nfree space under the data root/);
  });

  it("have one status for each code", () => {
    const statuses = Object.fromEntries(
      (
        [
          "invalid",
          "start-failed",
          "unauthorized",
          "forbidden",
          "not-found",
          "conflict",
          "not-modified",
          "too-large",
          "internal",
          "no-space",
          "not-implemented",
          "unavailable",
        ] as const
      ).map((code) => [code, answerFor(error(code), silentLogger, "x").status]),
    );
    assert.deepEqual(statuses, {
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
    });
  });

  it("leave Docker's texts alone and put the hint beside them", () => {
    assert.deepEqual(answerFor(error("conflict", "do that"), silentLogger, "x").body, {
      message: "what happened",
      hint: "do that",
    });
    assert.equal(
      answerFor(error("internal", "do that"), silentLogger, "x").body.message,
      "what happened\ndo that",
    );
  });

  it("are not logged for a client that went away", () => {
    const logger = { ...silentLogger, error: () => assert.fail("this is no defect") };
    assert.equal(answerFor(new DOMException("gone", "AbortError"), logger, "x").status, 500);
  });

  it("tell nothing of a defect but a reference into the log", () => {
    const lines: [string, LogFields | undefined][] = [];
    const logger: Logger = { ...silentLogger, error: (message, fields) => lines.push([message, fields]) };
    const { status, body } = answerFor(new TypeError("password hunter2 is undefined"), logger, "ImageCreate");
    assert.equal(status, 500);
    assert.doesNotMatch(JSON.stringify(body), /hunter2/);
    const [line] = lines;
    assert.match(body.message, new RegExp(`reference ${line?.[1]?.reference}`));
    assert.match(String(line?.[1]?.stack), /hunter2/);
    assert.equal(answerFor("a string", silentLogger, "x").status, 500);
  });

  it("tell the system call that failed", () => {
    const failed = Object.assign(new Error("ENOSPC: no space left on device, write"), {
      errno: -28,
      syscall: "write",
    });
    assert.match(answerFor(failed, silentLogger, "x").body.message, /ENOSPC: no space left on device, write/);
  });

  it("survive a ring of causes", () => {
    const ring = new BerthError("internal", "m", { operation: "x" });
    (ring as { cause?: unknown }).cause = ring;
    assert.equal(answerFor(ring, silentLogger, "x").status, 500);
  });
});

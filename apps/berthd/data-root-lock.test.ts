import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { lockDataRoot } from "./data-root-lock.ts";

test("a data root is one daemon's, until it ends", () => {
  const root = mkdtempSync(join(tmpdir(), "berth-lock-"));
  try {
    const first = lockDataRoot(root);
    assert.throws(
      () => lockDataRoot(root),
      (error) =>
        isBerthError(error, "conflict") && error.message.endsWith(`another daemon, process ${process.pid}`),
    );
    first.close();
    lockDataRoot(root).close();
  } finally {
    rmSync(root, { recursive: true });
  }
});

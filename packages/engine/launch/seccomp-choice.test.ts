import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readDefaultProfile, seccompFor } from "#engine/launch/seccomp-choice.ts";

const context = { capabilities: [], architecture: "x64", kernelRelease: "6.1.0" } as const;
const LOG = '{"defaultAction":"SCMP_ACT_LOG"}';
const TRAP = '{"defaultAction":"SCMP_ACT_TRAP"}';
const action = (seccomp: string, daemonDefault = "default", privileged = false) =>
  seccompFor({ security: { seccomp }, daemonDefault, privileged, context })?.defaultAction;

test("a container's own profile comes before the daemon's, and that before the built-in one", () => {
  assert.equal(action("default"), "SCMP_ACT_ERRNO");
  assert.equal(action("default", LOG), "SCMP_ACT_LOG");
  assert.equal(action(TRAP, LOG), "SCMP_ACT_TRAP");
  assert.equal(action("builtin", LOG), "SCMP_ACT_ERRNO");
  assert.equal(action("default", "unconfined"), undefined);
  assert.equal(action("unconfined", LOG), undefined);
});

test("privileged processes have only a profile that they were given", () => {
  assert.equal(action("default", "default", true), undefined);
  assert.equal(action("default", LOG, true), undefined);
  assert.equal(action(TRAP, "default", true), "SCMP_ACT_TRAP");
});

test("the daemon's profile is a word or a file", () => {
  assert.equal(readDefaultProfile(""), "default");
  assert.equal(readDefaultProfile("builtin"), "default");
  assert.equal(readDefaultProfile("unconfined"), "unconfined");
  const directory = mkdtempSync(join(tmpdir(), "berth-seccomp-"));
  try {
    const path = join(directory, "profile");
    writeFileSync(path, LOG);
    assert.equal(readDefaultProfile(path), LOG);
    writeFileSync(path, "{x");
    assert.throws(() => readDefaultProfile(path), /Decoding seccomp profile failed/);
    assert.throws(() => readDefaultProfile("/nosuch"), {
      message: "opening seccomp profile (/nosuch) failed: open /nosuch: no such file or directory",
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

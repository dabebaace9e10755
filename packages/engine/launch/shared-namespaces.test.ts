import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineContext } from "#engine/engine-context.ts";
import { joinedPid, type SharedKind } from "#engine/launch/shared-namespaces.ts";

/** Joins "other" as it is. */
function join(kind: SharedKind, state: object, hostConfig: object = {}): number {
  const other = { id: "f00", record: { state: { Pid: 42, ...state }, hostConfig } };
  const context = { containers: { get: () => other }, idMap: undefined } as unknown as EngineContext;
  return joinedPid(context, {}, "other", kind);
}
const running = { Running: true };

test("of a container that runs", () => {
  assert.equal(join("pid", running), 42);
  assert.throws(() => join("pid", { Running: false }), { message: "container f00 is not running" });
  assert.throws(
    () => join("pid", { Running: true, Restarting: true }),
    /^BerthError: Container f00 is restarting/,
  );
  assert.throws(() => join("ipc", { Running: false }), {
    code: "conflict",
    message: "can't join IPC of container f00: container f00 is not running",
  });
});

test("a private IPC namespace is nobody else's", () => {
  for (const IpcMode of ["shareable", "host", "container:x"])
    assert.equal(join("ipc", running, { IpcMode }), 42);
  for (const IpcMode of ["private", "none", ""]) {
    assert.throws(
      () => join("ipc", running, { IpcMode }),
      /can't join IPC of container f00: non-shareable IPC/,
    );
  }
  assert.equal(join("pid", running, { IpcMode: "private" }), 42);
});

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { removeRdtGroup } from "#oci/rdt-group.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { SpecIntelRdt } from "#runtime/spec-types.ts";

it("a group of the container's own goes with it, one by closID stays", () => {
  const resctrl = mkdtempSync(join(tmpdir(), "berth-rdt-"));
  const host = { resctrl } as HostFacts;
  const remove = (intelRdt?: SpecIntelRdt) =>
    removeRdtGroup("box", { ociVersion: "1.2.0", ...(intelRdt && { linux: { intelRdt } }) }, host);
  mkdirSync(join(resctrl, "box"));
  mkdirSync(join(resctrl, "gold/mon_groups/box"), { recursive: true });
  remove();
  assert.ok(existsSync(join(resctrl, "box")));
  remove({});
  assert.ok(!existsSync(join(resctrl, "box")));
  remove({});
  remove({ closID: "gold" });
  assert.ok(existsSync(join(resctrl, "gold/mon_groups")));
  assert.ok(!existsSync(join(resctrl, "gold/mon_groups/box")));
  rmSync(resctrl, { recursive: true });
});

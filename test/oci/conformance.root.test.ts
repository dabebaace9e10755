/** Berth's runtime beside runc and crun: the same cases, the same exit codes, the same containers. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { cgroupCases } from "#test/oci/cases/cgroups.ts";
import { execCases } from "#test/oci/cases/exec.ts";
import { hookCases } from "#test/oci/cases/hooks.ts";
import { lifecycleCases } from "#test/oci/cases/lifecycle.ts";
import { mountCases } from "#test/oci/cases/mounts.ts";
import { namespaceCases } from "#test/oci/cases/namespaces.ts";
import { processCases } from "#test/oci/cases/process.ts";
import { refusalCases } from "#test/oci/cases/refusals.ts";
import { seccompCases } from "#test/oci/cases/seccomp.ts";
import { userNamespaceCases } from "#test/oci/cases/user-namespaces.ts";
import { disagreements, makeRigs, type Rig } from "#test/oci/rig.ts";

const groups = {
  lifecycle: lifecycleCases,
  exec: execCases,
  namespaces: namespaceCases,
  "user namespaces": userNamespaceCases,
  mounts: mountCases,
  process: processCases,
  "filters and settings": seccompCases,
  "control groups": cgroupCases,
  hooks: hookCases,
  refusals: refusalCases,
};

let rigs: Rig[];
before(() => {
  rigs = makeRigs();
});
after(async () => {
  for (const rig of rigs) await rig.remove();
});

for (const [group, cases] of Object.entries(groups)) {
  describe(`${group}, beside runc and crun`, () => {
    for (const { name, run, differs = {} } of cases) {
      it(name, async () => {
        for (const rig of rigs) {
          rig.seen.clear();
          try {
            await run(rig);
            // What the peers leave behind after a refusal is theirs to answer for.
            if (rig.runtime === "berth") await rig.leavesNothing();
          } finally {
            await rig.deleteAll();
          }
        }
        assert.deepEqual(disagreements(differs, rigs).join("\n"), "");
      });
    }
  });
}

/** Control groups version 2 with all controllers, in a virtual machine of its own. */
import { test } from "node:test";
import { testInMachine, vmMissing } from "#test/vm/machine.ts";

const FILES = [
  "packages/runtime/cgroup-v2.root.test.ts",
  "packages/runtime/user-namespace.root.test.ts",
  "packages/runtime/cgroups/cgroups.root.test.ts",
  "packages/runtime/cgroups/cgroups-v2.root.test.ts",
  "test/vm/guest/runtime-v2.test.ts",
  "test/vm/guest/daemon-v2.test.ts",
  "test/vm/guest/checkpoint.test.ts",
  // For its kernel's sake: it has to do with control groups nothing.
  "test/vm/guest/wires.test.ts",
  "packages/storage/quota/project-limits.root.test.ts",
  "test/vm/guest/size-limits.test.ts",
];
const missing = vmMissing();

test(`in a virtual machine with control groups version 2${missing ? ` (skipped: ${missing})` : ""}`, {
  skip: missing,
}, async (context) => {
  for (const { name, skip, error } of await testInMachine("v2", FILES)) {
    await context.test(name, { skip: skip || false }, () => {
      if (error !== undefined) throw new Error(error);
    });
  }
});

/**
 * The devicemapper storage driver in virtual machines, whose kernel has a device mapper: one for the drivers' contract and the
 * pools, one for the contract with xfs, and two for daemons: each has all of the memory that its disks are in.
 */
import { basename } from "node:path";
import { test } from "node:test";
import { testInMachine, vmMissing } from "#test/vm/machine.ts";

const missing = vmMissing();
const skipped = missing ? ` (skipped: ${missing})` : "";
const driver = "packages/storage/devicemapper/devicemapper";
const guest = "test/vm/guest/devicemapper";

for (const [what, files] of [
  ["storage driver devicemapper", [`${driver}-driver.root.test.ts`, `${driver}-pools.root.test.ts`]],
  ["storage driver devicemapper with xfs", [`${driver}-xfs.root.test.ts`]],
  ["berthd on devicemapper", [`${guest}.test.ts`]],
  [
    "devicemapper beside overlay2 and after power cuts",
    [`${guest}-answers.test.ts`, `${guest}-power-cut.test.ts`],
  ],
] as const) {
  test(`${what}, in a virtual machine${skipped}`, { skip: missing }, async (context) => {
    for (const { name, file = "", skip, error } of await testInMachine("v2", files, { atOnce: 2 })) {
      await context.test(`${basename(file)}: ${name}`, { skip: skip || false }, () => {
        if (error !== undefined) throw new Error(error);
      });
    }
  });
}

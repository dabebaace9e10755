/** Control groups made by systemd, in a virtual machine whose first process it is. */
import { existsSync } from "node:fs";
import { test } from "node:test";
import { SYSTEMD } from "#test/vm/image.ts";
import { testInMachine, vmMissing } from "#test/vm/machine.ts";

const missing = vmMissing() || (!existsSync(SYSTEMD) && "systemd is not installed");

test(`in a virtual machine with systemd${missing ? ` (skipped: ${missing})` : ""}`, {
  skip: missing,
}, async (context) => {
  for (const { name, skip, error } of await testInMachine("systemd", ["test/vm/guest/systemd.test.ts"])) {
    await context.test(name, { skip: skip || false }, () => {
      if (error !== undefined) throw new Error(error);
    });
  }
});

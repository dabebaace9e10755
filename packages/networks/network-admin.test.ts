import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "#errors/logger-types.ts";
import type { NetworkDriver } from "#networks/drivers/driver-types.ts";
import { type AdminParts, NetworkAdmin } from "#networks/network-admin.ts";
import { NetworkRecords } from "#networks/network-record.ts";
import { NetworkTable } from "#networks/network-table.ts";
import { networkMigrations } from "#networks/schema.ts";
import { Plugins } from "#plugins/plugins.ts";
import { Database } from "#state/database.ts";

const failure = (code: string) => Object.assign(new Error(`it says ${code}`), { code });

/** Networks of a driver that cannot start one, and fails with these when it takes that away. */
function open(removals: (Error | undefined)[]) {
  const database = Database.open(":memory:", [networkMigrations]);
  const driver = {
    start: async () => {
      throw failure("EPERM");
    },
    remove: async () => {
      const wrong = removals.shift();
      if (wrong !== undefined) throw wrong;
    },
  } as unknown as NetworkDriver;
  const table = new NetworkTable(new NetworkRecords(database), () => ({ driver }));
  const admin = new NetworkAdmin({
    table,
    options: { defaultAddressPools: [] } as unknown as AdminParts["options"],
    plugins: new Plugins({ sockets: [], specs: [] }),
    kernelHasIpv6: true,
    usersOf: () => [],
    settled: async () => undefined,
    logger: silentLogger,
  });
  const stored = () =>
    database
      .all<{ config: string }>("SELECT config FROM network")
      .map(({ config }) => (JSON.parse(config) as { leaving?: boolean }).leaving === true);
  return { admin, table, stored };
}

test("a network that cannot be made leaves nothing, also where the kernel is short of something", async () => {
  const wrapped = new Error("cannot run it", { cause: failure("EMFILE") });
  const removals = [failure("ENOBUFS"), wrapped, undefined];
  const { admin, stored } = open(removals);
  await assert.rejects(admin.create({ Name: "few" }), /it says EPERM/);
  assert.deepEqual(removals, []);
  assert.deepEqual(stored(), []);
});

test("what cannot be taken away yet keeps its row as one that is leaving, for the next daemon", async () => {
  const { admin, table, stored } = open([failure("EIO"), undefined]);
  await assert.rejects(admin.create({ Name: "few" }), /it says EPERM/);
  assert.deepEqual(stored(), [true]);
  assert.equal(table.find("few"), undefined);
  await assert.rejects(admin.create({ Name: "few" }), /network with name few is still being removed/);
  await admin.finishRemovals();
  assert.deepEqual(stored(), []);
});

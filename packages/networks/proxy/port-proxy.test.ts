import assert from "node:assert/strict";
import { test } from "node:test";
import { shortOfDescriptors } from "#test/fixtures/few-descriptors.ts";

test("a proxy that cannot be started for want of descriptors is told of, and not the end of who starts it", async () => {
  const rounds = await shortOfDescriptors({
    setUp: `
      import { silentLogger } from "#errors/logger-types.ts";
      import { PortProxy } from "#networks/proxy/port-proxy.ts";
      const told = Promise.withResolvers();
      const logger = { ...silentLogger, error: (message, { error }) => told.resolve(error) };
      const proxy = new PortProxy({ launcherPath: "/bin/true", socketPath: "/nowhere", logger });
      const target = { protocol: "tcp", address: "10.0.0.2", port: 80 };
      const socket = { close: () => undefined };
    `,
    // The last one is taken as well: Node keeps for good what it could open before a start failed.
    work: `
      const last = openSync("/dev/null");
      proxy.serve("127.0.0.1", 8080, target, () => socket);
      const error = await told.promise;
      proxy.close();
      closeSync(last);
      throw Object.assign(new Error(error), { code: /EMFILE$/.exec(error)?.[0] });
    `,
    most: 1,
  });
  assert.deepEqual(rounds, { failed: 1, done: 0, kept: 0 });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLogger } from "#errors/logger-types.ts";
import { BridgePorts } from "#networks/drivers/bridge-ports.ts";
import type { BridgeSettings } from "#networks/drivers/bridge-settings.ts";
import type { BridgeShared } from "#networks/drivers/bridge-shared.ts";

/** A bridge whose firewall does what it is told; what it gives back is noted. */
function open(apply: () => Promise<void>) {
  const free: string[] = [];
  const shared = {
    ports: { release: () => {} },
    firewall: { forget: () => false, withdraw: () => true, apply },
    leases: { release: (endpoint: string) => free.push(endpoint) },
    logger: silentLogger,
  };
  const settings = { bridge: "br0" } as BridgeSettings;
  return { ports: new BridgePorts(settings, shared as unknown as BridgeShared), free };
}

test("an address whose rules cannot be taken out lingers, and is free once they are", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const answers = [
    Promise.reject(new Error("EAGAIN")),
    Promise.reject(new Error("EAGAIN")),
    Promise.resolve(),
  ];
  for (const answer of answers) answer.catch(() => undefined);
  const { ports, free } = open(() => answers.shift() ?? Promise.resolve());
  await ports.leave("e1", []);
  for (const pause of [1000, 2000]) {
    assert.deepEqual(free, []);
    assert.ok(ports.lingers("e1"));
    t.mock.timers.tick(pause);
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  }
  assert.deepEqual(free, ["e1"]);
  assert.equal(ports.lingers("e1"), false);
});

test("who asks for an address waits for the rules that are being taken out", async () => {
  const gate = Promise.withResolvers<void>();
  const { ports, free } = open(() => gate.promise);
  void ports.leave("e1", []);
  const freed = ports.freed().then(() => assert.deepEqual(free, ["e1"]));
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  assert.deepEqual(free, []);
  gate.resolve();
  await freed;
});

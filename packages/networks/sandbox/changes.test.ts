/** What a running container holds while it joins and leaves networks that are nothing but what they are told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { EndpointSettings } from "#api-types/network.ts";
import type { NetworkDriver } from "#networks/drivers/driver-types.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import type { HeldSandbox } from "#networks/network-record.ts";
import type { Network } from "#networks/network-table.ts";
import type { SandboxRequest } from "#networks/network-types.ts";
import type { PublishedPort } from "#networks/ports/port-errors.ts";
import { type Joining, joinRunning, leaveRunning } from "#networks/sandbox/changes.ts";
import type { Database } from "#state/database.ts";

const port: PublishedPort = { protocol: "tcp", containerPort: 80, hostIp: "0.0.0.0", hostPort: 8080 };

/** Networks that lead out, and a container on "alpha" with a port; `refuses` names networks that have no ports to give. */
function open(refuses: string[] = []) {
  const log: string[] = [];
  const make = (name: string): Network => {
    const driver = {
      routes: { ipv4: true, ipv6: false },
      hasIpv6: false,
      take: ({ endpointId }: { endpointId: string }) => ({
        settings: { EndpointID: endpointId, IPAddress: "10.1.0.2", GlobalIPv6Address: "", MacAddress: "" },
        program: emptyProgram(),
        veth: "",
      }),
      takePorts: () => {
        log.push(`${name} takes`);
        if (refuses.includes(name)) throw new Error("port is already allocated");
        return [{ ...port }];
      },
      publish: async () => void log.push(`${name} publishes`),
      withdraw: async () => void log.push(`${name} withdraws`),
      leave: async () => void log.push(`${name} is left`),
    };
    const record = { id: name, name, driver: "bridge", created: "", config: {} };
    return { record, driver: driver as unknown as NetworkDriver };
  };
  const networks = new Map(["alpha", "beta"].map((name) => [name, make(name)]));
  const endpoint = { EndpointID: "a", IPAddress: "10.1.0.2", GlobalIPv6Address: "" } as EndpointSettings;
  const held = {
    containerId: "c".repeat(64),
    name: "web",
    endpoints: { alpha: endpoint },
    links: {},
    published: [port],
    publishedOn: "alpha",
  } as unknown as HeldSandbox;
  const change = (network: string): Joining => ({
    held,
    pid: process.pid,
    network: networks.get(network) as Network,
    wanted: [],
    wishes: { GwPriority: 9 },
    request: { name: "web", containerId: held.containerId, hostname: "web" } as SandboxRequest,
    database: { transaction: (body: () => unknown) => body() } as unknown as Database,
    networkOf: (name) => networks.get(name),
    save: () => {},
  });
  return { held, change, log };
}

test("ports move to the network that leads out, and back when it is left", async () => {
  const { held, change, log } = open();
  await joinRunning(change("beta"));
  assert.deepEqual(log.splice(0), ["alpha withdraws", "beta takes", "beta publishes"]);
  assert.deepEqual([held.publishedOn, held.published.length, held.changing], ["beta", 1, undefined]);
  await leaveRunning(change("beta"));
  assert.deepEqual(log, ["beta withdraws", "alpha takes", "alpha publishes", "beta is left"]);
  assert.deepEqual(Object.keys(held.endpoints), ["alpha"]);
});

test("a connect that cannot move the ports leaves them where they were", async () => {
  const { held, change, log } = open(["beta"]);
  await assert.rejects(joinRunning(change("beta")), /already allocated/);
  assert.deepEqual(log, ["alpha withdraws", "beta takes", "beta is left", "alpha takes", "alpha publishes"]);
  assert.deepEqual([held.publishedOn, held.published.length, held.changing], ["alpha", 1, undefined]);
  assert.deepEqual(Object.keys(held.endpoints), ["alpha"]);
});

test("a disconnect that cannot move the ports has not happened", async () => {
  const { held, change } = open(["alpha"]);
  held.endpoints = { ...held.endpoints, beta: { ...held.endpoints.alpha } as EndpointSettings };
  held.publishedOn = "beta";
  await assert.rejects(leaveRunning(change("beta")), /already allocated/);
  assert.deepEqual([held.publishedOn, held.published.length, held.changing], ["beta", 1, undefined]);
  assert.deepEqual(Object.keys(held.endpoints), ["alpha", "beta"]);
});

test("what cannot be written down is not held", async () => {
  const { held, change } = open();
  const failing = { ...change("beta"), save: () => assert.fail("disk is full") };
  await assert.rejects(joinRunning(failing), /disk is full/);
  assert.deepEqual([Object.keys(held.endpoints), held.links, held.changing], [["alpha"], {}, undefined]);
  await assert.rejects(leaveRunning({ ...failing, network: change("alpha").network }), /disk is full/);
  assert.deepEqual([Object.keys(held.endpoints), held.changing], [["alpha"], undefined]);
});

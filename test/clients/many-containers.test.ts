/** A thousand containers up at once: all run, all are listed, and after them nothing is left. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { bridgeRules } from "#test/fixtures/firewall.ts";

const IMAGE = "berth/busybox";
const COUNT = 1000;
/** Of them so many with a published port each. */
const PUBLISHED = 50;
/** Of those that come and go, all with a published port. */
const CHURNED = 200;
/** Requests under way at a time. */
const AT_ONCE = 24;
let daemon: TestDaemon;
const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
before(async () => {
  // Room for a thousand addresses.
  daemon = await TestDaemon.start({ subnet: 216, prefix: 22 });
  daemon.loadBusybox();
});
after(async () => {
  agent.destroy();
  await daemon.stop();
});

interface Summary {
  Id: string;
  State: string;
  Status: string;
  Ports: { PublicPort?: number }[];
  NetworkSettings: { Networks: Record<string, { IPAddress: string }> };
}

function api(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
  return new Promise((done, failed) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const sent = request({ agent, socketPath: daemon.socket, method, path, headers }, (answer) => {
      let text = "";
      answer.on("data", (chunk) => {
        text += chunk;
      });
      answer.on("end", () => done({ status: answer.statusCode ?? 0, text }));
    });
    sent.on("error", failed);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function expect(status: number, method: string, path: string, body?: unknown): Promise<string> {
  const answer = await api(method, path, body);
  assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
  return answer.text;
}

/** Does it for each, some at a time; a failure is told when all have been tried. */
async function forAll<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const left = [...items];
  const failures: unknown[] = [];
  const worker = async () => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) {
      await work(item).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length}: ${failures[0]}`);
}

async function list(query: string): Promise<Summary[]> {
  return JSON.parse(await expect(200, "GET", `/v1.51/containers/json?${query}`)) as Summary[];
}

/** Everything of this daemon's that a container could leave behind. */
function held() {
  const sockets: Record<string, number> = {};
  for (const fd of readdirSync(`/proc/${daemon.pid}/fd`)) {
    try {
      const kind = readlinkSync(`/proc/${daemon.pid}/fd/${fd}`).replace(/[:[\]\d]+/g, "");
      sockets[kind] = (sockets[kind] ?? 0) + 1;
    } catch {
      // Closed in between.
    }
  }
  const count = (path: string) => readdirSync(path).length;
  return {
    descriptors: sockets,
    others: {
      mounts: daemon.mounts(),
      rules: bridgeRules(daemon.bridge),
      links: readdirSync(`/sys/class/net/${daemon.bridge}/brif`),
      // One that went may be kept for the next of the same image.
      layers: readdirSync(join(daemon.dataRoot, "overlay2")).filter((name) => !name.startsWith(".spare-"))
        .length,
      containers: count(join(daemon.dataRoot, "containers")),
      runs: count(join(daemon.execRoot, "containers")),
      children: daemon.shims(),
    },
  };
}

/** Control groups with one of these names, wherever they are. */
function cgroupsOf(ids: ReadonlySet<string>): string[] {
  const bases = ["/sys/fs/cgroup", ...readdirSync("/sys/fs/cgroup").map((name) => `/sys/fs/cgroup/${name}`)];
  return bases
    .map((base) => join(base, "berth"))
    .filter((path) => existsSync(path))
    .flatMap((path) => readdirSync(path).map((name) => join(path, name)))
    .filter((path) => ids.has(path.slice(path.lastIndexOf("/") + 1)));
}

test(`${COUNT} containers, started side by side, run and leave nothing behind`, async () => {
  const numbers = Array.from({ length: COUNT }, (_, n) => n);
  // What the first start makes is not the containers'; what is left of that one is taken back behind its end.
  daemon.docker("run", "--rm", "-p", "80", IMAGE, "true");
  await eventually(() => {
    const { links, children, ...others } = held().others;
    // The image's layer, and the directory of short names.
    assert.deepEqual([links, children, others.layers, others.runs], [[], [], 2, 0]);
  });
  // SQLite keeps the descriptor that the first backup was read by, for the next one.
  await eventually(() => assert.ok(existsSync(join(daemon.dataRoot, "berth.db.backup"))));
  const before = held();

  await forAll(numbers, async (n) => {
    const ports = n < PUBLISHED ? { "80/tcp": [{ HostPort: "" }] } : {};
    const body = { Image: IMAGE, Cmd: ["sleep", "1000"], HostConfig: { PortBindings: ports } };
    await expect(201, "POST", `/v1.51/containers/create?name=many-${n}`, body);
    await expect(204, "POST", `/v1.51/containers/many-${n}/start`);
  });

  const up = await list("");
  assert.equal(up.length, COUNT);
  assert.deepEqual([...new Set(up.map(({ State }) => State))], ["running"]);
  const addresses = up.map(({ NetworkSettings }) => NetworkSettings.Networks.bridge?.IPAddress);
  assert.equal(new Set(addresses).size, COUNT);
  const ports = up.flatMap(({ Ports }) => Ports.map(({ PublicPort }) => PublicPort));
  assert.equal(new Set(ports.filter(Boolean)).size, PUBLISHED);
  assert.equal(held().others.links.length, COUNT);
  assert.ok(held().others.rules.length >= before.others.rules.length + PUBLISHED);
  const ids = new Set(up.map(({ Id }) => Id));
  assert.equal(new Set(cgroupsOf(ids).map((path) => path.slice(path.lastIndexOf("/") + 1))).size, COUNT);
  const { stdout } = daemon.docker("ps", "--format", "{{.Names}} {{.Status}}");
  assert.equal(stdout.match(/^many-\d+ Up /gm)?.length, COUNT);

  await forAll(numbers, (n) => expect(204, "POST", `/v1.51/containers/many-${n}/stop?t=0`));
  assert.deepEqual(await list(""), []);
  const stopped = await list("all=1");
  assert.equal(stopped.filter(({ State }) => State === "exited").length, COUNT);
  // With sizes it is made anew; without, from texts that were kept.
  const plain = (one: Summary) => ({ ...one, Status: "", SizeRw: 0, SizeRootFs: 0 });
  assert.deepEqual(stopped.map(plain), (await list("all=1&size=1")).map(plain));

  await forAll(numbers, (n) => expect(204, "DELETE", `/v1.51/containers/many-${n}`));
  assert.deepEqual(await list("all=1"), []);
  await eventually(() => {
    const later = held();
    assert.deepEqual(later.others, before.others);
    for (const [kind, count] of Object.entries(later.descriptors)) {
      // The connections of this test are still there.
      const allowed = (before.descriptors[kind] ?? 0) + (kind === "socket" ? AT_ONCE : 0);
      assert.ok(count <= allowed, `${count} of ${kind}, ${before.descriptors[kind]} before`);
    }
    assert.deepEqual(cgroupsOf(ids), []);
  });
  assert.doesNotMatch(daemon.log(), /"level":"error"/);
});

test(`${CHURNED} containers with published ports come and go side by side: no address or port is anybody else's meanwhile`, async () => {
  await eventually(() => assert.equal(held().others.layers, 2));
  const before = held().others;
  const made = await expect(201, "POST", "/v1.51/networks/create", { Name: "crowd" });
  const bridge = `br-${(JSON.parse(made) as { Id: string }).Id.slice(0, 12)}`;
  const links = new Set<string>();
  let samples = 0;
  let most = 0;
  let going = true;
  const sampling = (async () => {
    while (going) {
      const up = await list("");
      const addresses = up.flatMap(({ NetworkSettings }) =>
        Object.values(NetworkSettings.Networks).flatMap(({ IPAddress }) =>
          IPAddress === "" ? [] : [IPAddress],
        ),
      );
      assert.equal(new Set(addresses).size, addresses.length, `addresses: ${addresses.sort()}`);
      const ports = up.flatMap(({ Ports }) => [
        ...new Set(Ports.flatMap(({ PublicPort }) => (PublicPort === undefined ? [] : [PublicPort]))),
      ]);
      assert.equal(new Set(ports).size, ports.length, `ports: ${ports.sort()}`);
      for (const one of [bridge, daemon.bridge])
        for (const link of readdirSync(`/sys/class/net/${one}/brif`)) links.add(link);
      samples++;
      most = Math.max(most, up.length);
      await sleep(20);
    }
  })();
  try {
    const numbers = Array.from({ length: CHURNED }, (_, n) => n);
    await forAll(numbers, async (n) => {
      const body = {
        Image: IMAGE,
        Cmd: ["sleep", "1000"],
        HostConfig: {
          NetworkMode: n % 2 === 0 ? "crowd" : "bridge",
          PortBindings: { "80/tcp": [{ HostPort: "" }] },
        },
      };
      await expect(201, "POST", `/v1.51/containers/create?name=crowd-${n}`, body);
      await expect(204, "POST", `/v1.51/containers/crowd-${n}/start`);
      // Half of them go at once, in the middle of others' coming.
      if (n % 4 < 2) await expect(204, "DELETE", `/v1.51/containers/crowd-${n}?force=1`);
    });
    await forAll(
      numbers.filter((n) => n % 4 >= 2),
      (n) => expect(204, "DELETE", `/v1.51/containers/crowd-${n}?force=1`),
    );
  } finally {
    going = false;
    await sampling;
  }
  assert.ok(samples > 1 && most > AT_ONCE, `${samples} samples, at most ${most} at a time`);
  await expect(204, "DELETE", "/v1.51/networks/crowd");
  await eventually(() => {
    assert.deepEqual(held().others, before);
    assert.deepEqual(bridgeRules(bridge), []);
    assert.deepEqual(readdirSync(join(daemon.execRoot, "netns")), []);
    assert.deepEqual(
      [...links, bridge].filter((link) => existsSync(`/sys/class/net/${link}`)),
      [],
    );
  });
  assert.doesNotMatch(daemon.log(), /"level":"error"/);
});

/** docker events: what is told of each object and in which order, filters, bounds; the daemon's own; top, swarm. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
let configFile: string;
before(async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-events-"));
  configFile = join(directory, "daemon.json");
  writeFileSync(configFile, JSON.stringify({ labels: ["tier=1"], mtu: 1500 }));
  daemon = await TestDaemon.start({ subnet: 35, flags: ["--config-file", configFile] });
  daemon.loadBusybox();
});
after(async () => {
  await daemon.stop();
  rmSync(dirname(configFile), { recursive: true });
});

interface Event {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: string;
  time: number;
  timeNano: number;
}

const ok = (...args: string[]) => daemon.ok(...args);

/** Everything told from `since` up to now. */
function told(since: string, ...flags: string[]): Event[] {
  const text = ok("events", "--since", since, "--until", now(), "--format", "{{json .}}", ...flags);
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Event);
}

const now = () => (Date.now() / 1000).toFixed(3);
const words = (events: Event[]) => events.map(({ Type, Action }) => `${Type} ${Action}`);

test("the life of a container with its network and volume, in order, with Docker's attributes", async () => {
  const since = now();
  const command = ["sh", "-c", "trap 'exit 9' HUP; while :; do sleep 0.05; done"];
  const id = ok(
    ...["run", "-d", "--name", "life", "-l", "tier=front", "-v", "data:/data:ro", IMAGE, ...command],
  );
  ok("top", "life");
  ok("exec", "life", "true");
  ok("pause", "life");
  ok("unpause", "life");
  ok("update", "--cpu-shares", "200", "life");
  ok("rename", "life", "living");
  ok("kill", "-s", "HUP", "living");
  ok("wait", "living");
  ok("rm", "living");
  ok("volume", "rm", "data");
  const events = told(since);
  assert.deepEqual(words(events), [
    "volume create",
    "container create",
    "network connect",
    "volume mount",
    "container start",
    "container top",
    "container exec_create: true ",
    "container exec_start: true ",
    "container exec_die",
    "container pause",
    "container unpause",
    "container update",
    "container rename",
    "container kill",
    "container die",
    "network disconnect",
    "volume unmount",
    "container destroy",
    "volume destroy",
  ]);
  const named = (word: string) => {
    const found = events.find(({ Type, Action }) => `${Type} ${Action}`.startsWith(word));
    assert.ok(found, word);
    return found.Actor;
  };
  const common = { image: IMAGE, name: "life", tier: "front" };
  assert.deepEqual(named("container create"), { ID: id, Attributes: common });
  assert.deepEqual(named("container rename").Attributes, { ...common, name: "living", oldName: "/life" });
  assert.equal(named("container kill").Attributes.signal, "1");
  const { exitCode, execDuration } = named("container die").Attributes;
  assert.equal(exitCode, "9");
  assert.match(execDuration ?? "", /^\d+$/);
  assert.deepEqual(named("network connect").Attributes, { container: id, name: "bridge", type: "bridge" });
  assert.deepEqual(named("volume mount"), {
    ID: "data",
    Attributes: {
      container: id,
      destination: "/data",
      driver: "local",
      propagation: "",
      "read/write": "false",
    },
  });
  const { execID, ...rest } = named("container exec_die").Attributes;
  assert.match(execID ?? "", /^[0-9a-f]{64}$/);
  assert.deepEqual(rest, { ...common, exitCode: "0" });
  for (const { scope, time, timeNano } of events) {
    assert.equal(scope, "local");
    assert.equal(Math.floor(timeNano / 1e9), time);
  }
  assert.equal(told(since, "-f", "container=living", "-f", "event=die").length, 1);
  assert.deepEqual(words(told(since, "-f", "type=volume", "-f", "event=mount")), ["volume mount"]);
  assert.deepEqual(words(told(since, "-f", "network=bridge")), ["network connect", "network disconnect"]);
  assert.equal(told(since, "-f", "label=tier=front", "-f", "label=none").length, 0);
});

test("bounds: by the nanosecond, in the past, still to come, the wrong way round", async () => {
  const since = now();
  for (const name of ["one", "two", "three"]) ok("volume", "create", name);
  const [one, two, three] = told(since) as [Event, Event, Event];
  const at = ({ timeNano }: Event) => `${Math.floor(timeNano / 1e9)}.${String(BigInt(timeNano)).slice(-9)}`;
  const middle = told(at(two), "--until", at(two));
  assert.deepEqual(
    middle.map(({ Actor }) => Actor.ID),
    ["two"],
  );
  assert.ok(one.timeNano < two.timeNano && two.timeNano < three.timeNano);
  // Until a moment from now, far enough for the removal to come before: that is told, then it ends.
  const soon = daemon.dockerAsync(
    ...["events", "--since", since, "--until", ((Date.now() + 8000) / 1000).toFixed(3)],
    ...["--format", "{{.Action}} {{.Actor.ID}}", "-f", "type=volume", "-f", "event=destroy"],
  );
  await daemon.dockerAsync("volume", "rm", "one", "two", "three");
  const ended = await soon;
  assert.equal(ended.code, 0);
  assert.equal(ended.stdout, "destroy one\ndestroy two\ndestroy three\n");
  assert.match(daemon.docker("events", "--since", "5", "--until", "3").stderr, /cannot be after/);
});

test("an open stream is told as it happens, and costs nobody anything when it is gone", async () => {
  const child = spawn("docker", ["events", "--format", "{{.Type}} {{.Action}}"], {
    env: daemon.environment,
    stdio: ["ignore", "pipe", "ignore"],
  });
  let seen = "";
  child.stdout.on("data", (chunk) => {
    seen += chunk;
  });
  const listeners = async () => JSON.parse((await daemon.api("GET", "/info")).body).NEventsListener as number;
  await eventually(async () => assert.equal(await listeners(), 1));
  await daemon.dockerAsync("run", "--rm", IMAGE, "true");
  const expected = ["container create", "container attach", "network connect", "container start"];
  expected.push("container die", "network disconnect", "container destroy");
  await eventually(() => assert.deepEqual(seen.trim().split("\n"), expected));
  child.kill();
  await eventually(async () => assert.equal(await listeners(), 0));
});

test("SIGHUP: what may change does, an event tells it; what may not waits; a broken file changes nothing", async () => {
  const since = now();
  const info = async () => JSON.parse((await daemon.api("GET", "/info")).body);
  assert.deepEqual((await info()).Labels, ["tier=1"]);
  const next = { labels: ["tier=2", "zone=b"], mtu: 1400, debug: true, "max-concurrent-downloads": 7 };
  writeFileSync(configFile, JSON.stringify({ ...next, "insecure-registries": ["registry.test:5000"] }));
  process.kill(daemon.pid, "SIGHUP");
  await eventually(async () => assert.deepEqual((await info()).Labels, ["tier=2", "zone=b"]));
  const { Debug, RegistryConfig } = await info();
  assert.equal(Debug, true);
  assert.equal(RegistryConfig.IndexConfigs["registry.test:5000"].Secure, false);
  const [reload, ...more] = told(since, "-f", "type=daemon");
  assert.deepEqual(more, []);
  assert.equal(reload?.Action, "reload");
  assert.equal(reload?.Actor.ID, (await info()).ID);
  const { name, labels, debug, "max-concurrent-downloads": downloads } = reload?.Actor.Attributes ?? {};
  assert.deepEqual([name, labels, debug, downloads], [hostname(), '["tier=2","zone=b"]', "true", "7"]);
  assert.match(daemon.log(), /changes that wait for the daemon's next start" options=mtu/);
  assert.equal(told(since, "-f", `daemon=${hostname()}`).length, 1);
  writeFileSync(configFile, '{"labels": 5}');
  process.kill(daemon.pid, "SIGHUP");
  await eventually(() =>
    assert.match(daemon.log(), /the configuration is left as it was" reason=.*labels must be/),
  );
  // What only the daemon's other parts know to be wrong.
  writeFileSync(configFile, '{"labels": ["tier=3"], "log-driver": "json-fiel"}');
  process.kill(daemon.pid, "SIGHUP");
  await eventually(() =>
    assert.match(daemon.log(), /the configuration is left as it was" reason=.*json-fiel/),
  );
  assert.equal(ok("run", "--rm", IMAGE, "echo", "logged"), "logged");
  assert.deepEqual((await info()).Labels, ["tier=2", "zone=b"]);
  assert.equal(told(since, "-f", "type=daemon").length, 1);
});

test("outside any swarm, without plugins", async () => {
  const noManager =
    'Error response from daemon: This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
  for (const command of ["node ls", "service ls", "secret ls", "config ls", "stack ls"]) {
    const { code, stderr } = daemon.docker(...command.split(" "));
    assert.deepEqual([code, stderr.trim()], [1, noManager], command);
  }
  assert.equal(
    daemon.docker("swarm", "leave").stderr.trim(),
    "Error response from daemon: This node is not part of a swarm",
  );
  assert.equal((await daemon.api("GET", "/v1.51/tasks")).status, 503);
  assert.equal(ok("plugin", "ls", "-q"), "");
  assert.match(daemon.docker("plugin", "inspect", "x").stderr, /plugin "?x"? not found/);
});

test("top takes ps' arguments, and refuses a column that only looks like the pid", async () => {
  ok("run", "-d", "--name", "tops", IMAGE, "sh", "-c", "sleep 1000 & sleep 1001; true");
  // The shell starts them in its own time.
  await eventually(() => {
    const rows = ok("top", "tops", "-o", "pid,comm").split("\n").slice(1);
    assert.deepEqual(rows.map((row) => row.trim().split(/\s+/)[1]).sort(), ["sh", "sleep", "sleep"]);
  });
  assert.match(ok("top", "tops"), /^UID\s+PID\s+PPID\s+C\s+STIME\s+TTY\s+TIME\s+CMD\n/);
  assert.match(daemon.docker("top", "tops", "-o", "ppid=PID").stderr, /specifying "ppid=PID" is not allowed/);
  assert.match(daemon.docker("top", "tops", "-o", "comm").stderr, /Couldn't find PID field in ps output/);
  assert.match(daemon.docker("top", "tops", "--nonsense").stderr, /ps: error: unknown gnu long option/);
  ok("rm", "-f", "tops");
});

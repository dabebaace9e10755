/**
 * Debian 13's `docker compose`, unmodified, on Berth: three services in two networks, a start that waits for health,
 * volumes, scale, and every command one uses from day to day.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { buildImage, buildTar } from "#images/archive-build.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { ComposeProject } from "./compose-project.ts";
import { dockerCliMissing } from "./docker-cli.ts";

/** `prefix` is the beginning of the addresses of one network, "10.1.2.". */
const file = (name: string, registry: string, prefix: string) => `
name: ${name}
services:
  store:
    image: ${registry}/store:1
    healthcheck:
      test: ["CMD", "test", "-e", "/data/ready"]
      # Few results are kept, and the first good one is looked at.
      interval: 10s
      start_period: 60s
      start_interval: 300ms
      timeout: 10s
      retries: 50
    volumes:
      - data:/data
    networks:
      back:
        aliases: [database]
  web:
    image: ${registry}/web:1
    depends_on:
      store:
        condition: service_healthy
    environment:
      GREETING: \${GREETING:-hello}
    ports:
      - "127.0.0.1::80"
    volumes:
      - ./site:/site:ro
    networks:
      front:
        aliases: [www, site]
      back:
    labels:
      kind: test
    stop_grace_period: 1s
  worker:
    image: ${registry}/web:1
    command: [sleep, "1000"]
    init: true
    depends_on:
      web: {condition: service_started}
    networks: [back]
    deploy:
      resources:
        limits: {memory: 64M, cpus: "0.5"}
    stop_grace_period: 1s
  once:
    image: ${registry}/web:1
    profiles: [tools]
    command: [sh, -c, "cat /data/ready"]
    volumes:
      - data:/data:ro
    depends_on:
      store: {condition: service_healthy}
    networks: [back]
volumes:
  data:
    labels: {kind: test}
networks:
  front:
  back:
    ipam:
      config:
        - subnet: ${prefix}0/24
`;

/** What each image has of its own: a command. The store becomes healthy only a while after its start. */
const commands = {
  store: ["sh", "-c", "echo store starts; sleep 1; echo stored >/data/ready; exec sleep 1000"],
  web: [
    "sh",
    "-c",
    // Reads through the network what the health check has waited for.
    "echo $GREETING; mkdir -p /www/cgi-bin; cp /site/* /www/ 2>/dev/null; " +
      "printf '#!/bin/sh\\necho; hostname\\n' >/www/cgi-bin/who; chmod +x /www/cgi-bin/who; " +
      "echo ready; exec httpd -f -v -p 80 -h /www",
  ],
};

describe("docker compose", { skip: dockerCliMissing() }, () => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  let project: ComposeProject;
  before(async () => {
    registry = await TestRegistry.start();
    daemon = await TestDaemon.start({ subnet: 95 });
    const busybox = await builtBusybox();
    for (const [name, Cmd] of Object.entries(commands)) {
      const own = buildTar([{ type: "file", name: `etc/${name}`, content: name }]);
      const document = { ...JSON.parse(busybox.config.toString()), config: { Cmd, StopSignal: "SIGKILL" } };
      await registry.push(name, "1", buildImage([...busybox.layers, own], document));
    }
    project = new ComposeProject(daemon, "shop");
    mkdirSync(join(project.directory, "site"));
    project.write("site/index.html", "from the project\n");
    project.write("compose.yaml", file(project.name, registry.host, project.prefix));
  });
  after(async () => {
    await compose("down", "-v", "-t", "0").catch(() => {});
    await daemon.stop();
    await registry.stop();
  });

  const compose = (...args: string[]) => project.run(...args);
  const ok = (...args: string[]) => project.ok(...args);
  const ps = (...flags: string[]) => project.ps(...flags);

  test("config shows the file with everything filled in", async () => {
    const whole = JSON.parse(await ok("config", "--format", "json"));
    assert.equal(whole.services.web.environment.GREETING, "hello");
    assert.equal(whole.networks.back.name, `${project.name}_back`);
    assert.equal(await ok("config", "--services"), "store\nweb\nworker\n");
    assert.equal(await ok("config", "--volumes"), "data\n");
    assert.equal((await compose("-f", "none.yaml", "config")).code, 14);
  });

  test("pull gets the images", async () => {
    await ok("pull");
    const listed = daemon.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout;
    assert.deepEqual(listed.trim().split("\n").sort(), [
      `${registry.host}/store:1`,
      `${registry.host}/web:1`,
    ]);
  });

  test("up starts in the order of health, once", async () => {
    await ok("up", "-d", "--wait");
    const rows = await ps();
    assert.deepEqual(rows.map(({ Service, State }) => `${Service} ${State}`).sort(), [
      "store running",
      "web running",
      "worker running",
    ]);
    const store = project.inspect("store");
    const web = project.inspect("web");
    assert.equal(store.State.Health.Status, "healthy");
    const healthy = store.State.Health.Log.find(({ ExitCode }: { ExitCode: number }) => ExitCode === 0);
    assert.ok(
      Date.parse(web.State.StartedAt) >= Date.parse(healthy.End),
      "web began before the store was healthy",
    );
    assert.deepEqual(Object.keys(web.NetworkSettings.Networks).sort(), [
      `${project.name}_back`,
      `${project.name}_front`,
    ]);
    assert.ok(store.NetworkSettings.Networks[`${project.name}_back`].IPAddress.startsWith(project.prefix));
    assert.equal(project.inspect("worker").HostConfig.Memory, 64 << 20);
    // Nothing has changed, so nothing is made anew.
    await ok("up", "-d", "--wait");
    assert.equal(project.inspect("web").Id, web.Id);
  });

  test("ps, images, ls and top", async () => {
    assert.equal((await ps("store"))[0]?.Health, "healthy");
    assert.equal((await ok("ps", "-q")).trim().split("\n").length, 3);
    assert.equal(await ok("ps", "--services", "--filter", "status=running"), "store\nweb\nworker\n");
    assert.match(await ok("ps"), /127\.0\.0\.1:\d+->80\/tcp/);
    assert.match(await ok("images"), new RegExp(`${registry.host}/store\\s+1`));
    const [listed] = JSON.parse(await ok("ls", "--format", "json"));
    assert.deepEqual([listed.Name, listed.Status], [project.name, "running(3)"]);
    assert.match(await ok("top", "worker"), /sleep 1000/);
  });

  test("names and aliases are known in the network, and nowhere else", async () => {
    const asked = async (service: string, name: string) =>
      (await compose("exec", "-T", service, "nslookup", name)).code === 0;
    for (const name of ["store", "database", "web", "worker", `${project.name}-store-1`]) {
      assert.ok(await asked("worker", name), name);
    }
    assert.ok(await asked("web", "www"));
    assert.equal(await asked("worker", "www"), false, "an alias of the other network");
    const page = await ok("exec", "-T", "worker", "wget", "-q", "-O", "-", "http://web/index.html");
    assert.equal(page, "from the project\n");
  });

  test("port tells where, and there is the page", async () => {
    const where = (await ok("port", "web", "80")).trim();
    assert.match(where, /^127\.0\.0\.1:\d+$/);
    assert.equal(await (await fetch(`http://${where}/index.html`)).text(), "from the project\n");
  });

  test("exec: output, input's absence, environment, user, exit code", async () => {
    assert.equal(
      await ok(
        "exec",
        "-T",
        "-e",
        "A=b",
        "-u",
        "1000",
        "-w",
        "/tmp",
        "web",
        "sh",
        "-c",
        "echo $A; id -u; pwd",
      ),
      "b\n1000\n/tmp\n",
    );
    assert.equal((await compose("exec", "-T", "web", "sh", "-c", "exit 7")).code, 7);
    assert.equal((await compose("exec", "-T", "nobody", "true")).code, 1);
  });

  test("run: a container for one command, with and without its service's ports", async () => {
    assert.equal(await ok("run", "--rm", "-T", "worker", "echo", "once"), "once\n");
    assert.equal(await ok("run", "--rm", "-T", "once"), "stored\n");
    assert.equal((await compose("run", "--rm", "-T", "--no-deps", "worker", "sh", "-c", "exit 4")).code, 4);
    assert.equal((await ps("-a")).length, 3);
  });

  test("logs: of all, of one, the tail, followed to the end", async () => {
    const all = await ok("logs", "--no-color");
    assert.match(all, /^store-1 +\| store starts$/m);
    assert.match(all, /^web-1 +\| hello$/m);
    assert.equal(await ok("logs", "--no-log-prefix", "--tail", "1", "store"), "store starts\n");
    assert.match(await ok("logs", "-t", "store"), /\| \d{4}-\d\d-\d\dT/);
    let over = false;
    const followed = ok("logs", "-f", "--no-log-prefix", "store").finally(() => {
      over = true;
    });
    // Where the end comes before compose listens for it, compose waits for the next one.
    for (let ends = 0; !over && ends < 10; ends++) {
      await ok("stop", "-t", "0", "store");
      await Promise.race([followed, sleep(10_000)]);
      await ok("start", "store");
    }
    // Compose tells of the end beside the log, now and then before its last line.
    assert.match(await followed, /^store starts$/m);
  });

  test("cp goes both ways", async () => {
    project.write("in", "copied\n");
    await ok("cp", "in", "web:/tmp/in");
    await ok("cp", "web:/tmp/in", "out");
    assert.equal(readFileSync(join(project.directory, "out"), "utf8"), "copied\n");
  });

  test("pause, unpause, restart, kill, stop, start", async () => {
    const state = async (service: string) => (await ps("-a", service))[0]?.State;
    await ok("pause", "worker");
    assert.equal(await state("worker"), "paused");
    await ok("unpause", "worker");
    assert.equal(await state("worker"), "running");
    const before = project.inspect("worker");
    await ok("restart", "-t", "0", "worker");
    const after = project.inspect("worker");
    assert.equal(after.Id, before.Id);
    assert.notEqual(after.State.StartedAt, before.State.StartedAt);
    await ok("kill", "worker");
    await eventually(async () => assert.equal((await ps("-a", "worker"))[0]?.ExitCode, 137));
    await ok("start", "worker");
    await ok("stop", "-t", "0", "worker");
    assert.equal(await state("worker"), "exited");
    await ok("start", "worker");
    assert.equal(await state("worker"), "running");
  });

  test("scale: three of one, each with a name and an address, then one", async () => {
    await ok("up", "-d", "--wait", "--scale", "worker=3");
    const workers = (await ps("worker")).map(({ Name }) => Name);
    assert.deepEqual(
      workers.sort(),
      [1, 2, 3].map((number) => `${project.name}-worker-${number}`),
    );
    const found = await ok("exec", "-T", "web", "nslookup", "worker");
    const addresses = workers.map(
      (name) => project.inspectByName(name).NetworkSettings.Networks[`${project.name}_back`].IPAddress,
    );
    assert.equal(new Set(addresses).size, 3);
    for (const address of addresses) assert.ok(found.includes(address), found);
    assert.equal(
      await ok("exec", "-T", "--index", "2", "worker", "hostname"),
      `${project.inspect("worker", 2).Config.Hostname}\n`,
    );
    await ok("scale", "worker=1");
    assert.equal((await ps("worker")).length, 1);
  });

  test("a scaled service is found by name and by alias, and every replica gets its share", async () => {
    await ok("up", "-d", "--wait", "--scale", "web=3");
    const rows = await ps("web");
    const replicas = rows.map(({ Name }) => project.inspectByName(Name).Config.Hostname as string);
    assert.equal(new Set(replicas).size, 3);
    // Whoever is named first is asked: so do clients that do not choose among a name's addresses.
    const first = "nslookup -type=a $name 127.0.0.11 | sed -n 's/^Address: //p' | head -n 1";
    const share = (name: string) =>
      `name=${name}; for n in $(seq 30); do wget -q -O - http://$(${first})/cgi-bin/who; done`;
    const shares = async (service: string, name: string) => {
      const counts = new Map<string, number>();
      for (const who of (await project.shell(service, share(name))).split("\n")) {
        counts.set(who, (counts.get(who) ?? 0) + 1);
      }
      return counts;
    };
    // The servers of new replicas may not listen yet.
    await eventually(async () => {
      const asked = await shares("worker", "web");
      assert.equal(
        [...asked.values()].reduce((sum, count) => sum + count, 0),
        30,
      );
      assert.equal(asked.size, 3);
    });
    for (const [service, name] of [
      ["worker", "web"],
      ["web", "www"],
      ["web", "site"],
    ] as const) {
      const counts = await shares(service, name);
      assert.deepEqual([...counts.keys()].sort(), [...replicas].sort(), name);
      for (const count of counts.values()) assert.ok(count >= 5, `${name}: ${JSON.stringify([...counts])}`);
    }
    // One that is gone is not named any more.
    await ok("up", "-d", "--wait", "--scale", "web=1");
    assert.deepEqual([...(await shares("worker", "web")).values()], [30]);
  });

  test("a changed service is made anew, the volume stays", async () => {
    const id = project.inspect("web").Id;
    const changed = file(project.name, registry.host, project.prefix).replace(
      "GREETING:-hello",
      "GREETING:-changed",
    );
    project.write("compose.yaml", changed);
    await ok("up", "-d", "--wait");
    assert.notEqual(project.inspect("web").Id, id);
    assert.match(await ok("logs", "--no-log-prefix", "web"), /^changed$/m);
    await ok("up", "-d", "--wait", "--force-recreate", "store");
    assert.equal(await ok("exec", "-T", "store", "cat", "/data/ready"), "stored\n");
  });

  test("rm takes one service away", async () => {
    await ok("rm", "-s", "-f", "worker");
    assert.deepEqual(await ps("-a", "worker"), []);
  });

  test("down -v takes everything along", async () => {
    await ok("--profile", "tools", "down", "-v", "-t", "0");
    const left = (...args: string[]) =>
      daemon.docker(...args, "--filter", `label=com.docker.compose.project=${project.name}`).stdout;
    assert.equal(left("ps", "-aq"), "");
    assert.equal(left("volume", "ls", "-q"), "");
    assert.equal(left("network", "ls", "-q"), "");
    assert.equal(daemon.docker("network", "ls", "--format", "{{.Name}}").stdout, "bridge\nhost\nnone\n");
  });
});

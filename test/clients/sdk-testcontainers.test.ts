/**
 * npm's testcontainers, unmodified, on Berth: wait strategies, ports, exec, files, networks, restarts, and its reaper,
 * for which a few lines of shell stand in, since nothing is pulled from anywhere but a registry of this test.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { GenericContainer, Network, PullPolicy, Wait } from "testcontainers";
import { buildImage, buildTar, dockerArchive } from "#images/archive-build.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

const IMAGE = "berth/busybox:latest";
const REAPER = "test/reaper:1";
/** Serves /www on port 80 and says so. */
const SERVER = [
  "sh",
  "-c",
  "mkdir -p /www; echo served >/www/index.html; echo ready; exec httpd -f -p 80 -h /www",
];

let daemon: TestDaemon;
let registry: TestRegistry;
before(async () => {
  registry = await TestRegistry.start();
  daemon = await TestDaemon.start({ subnet: 94 });
  const busybox = await builtBusybox();
  const reaper = buildImage(busybox.layers, {
    ...JSON.parse(busybox.config.toString()),
    config: {
      Labels: { "org.testcontainers.ryuk": "true" },
      Cmd: [
        "sh",
        "-c",
        "nc -ll -p 8080 -e sh -c 'while read -r line; do echo ACK; done' & echo Started; wait",
      ],
    },
  });
  const archive = dockerArchive([
    { image: busybox, tags: [IMAGE] },
    { image: reaper, tags: [REAPER] },
  ]);
  const loaded = daemon.dockerWith({ input: archive }, "load");
  assert.equal(loaded.code, 0, loaded.stderr);
  await registry.push("testcontainers/busybox", "1", busybox);
  // The library takes all of its settings from here.
  process.env.DOCKER_HOST = `unix://${daemon.socket}`;
  process.env.DOCKER_CONFIG = join(daemon.directory, "docker-config");
  process.env.RYUK_CONTAINER_IMAGE = REAPER;
});
after(async () => {
  await daemon.stop();
  await registry.stop();
});

const running = (id: string) => daemon.docker("ps", "-q", "--no-trunc").stdout.split("\n").includes(id);

test("exposed ports: waits until they listen, answers on the host's", async () => {
  await using container = await new GenericContainer(IMAGE)
    .withCommand(SERVER)
    .withExposedPorts(80)
    .withEnvironment({ A: "b" })
    .withLabels({ kind: "test" })
    .start();
  const answer = await fetch(`http://${container.getHost()}:${container.getMappedPort(80)}/index.html`);
  assert.equal(await answer.text(), "served\n");
  assert.deepEqual(container.getNetworkNames(), ["bridge"]);
  assert.match(container.getIpAddress("bridge"), /^10\.213\./);
  assert.equal(container.getLabels().kind, "test");
  assert.match(container.getName(), /^\/\w+$/);
});

test("the reaper is there and holds the socket", () => {
  const [id] = daemon.docker("ps", "-q", "--filter", "label=org.testcontainers.ryuk=true").stdout.split("\n");
  assert.ok(id);
  assert.equal(daemon.docker("exec", id, "test", "-S", "/var/run/docker.sock").code, 0);
});

test("pulls what isn't there, and always when told to", async () => {
  const name = `${registry.host}/testcontainers/busybox:1`;
  for (const policy of [PullPolicy.defaultPolicy(), PullPolicy.alwaysPull()]) {
    const container = await new GenericContainer(name)
      .withPullPolicy(policy)
      .withCommand(["sleep", "1000"])
      .start();
    await container.stop();
  }
  await assert.rejects(
    new GenericContainer(`${registry.host}/testcontainers/none:1`).start(),
    /manifest unknown|not found/,
  );
});

test("waits for a line of the log, a second time, in either stream", async () => {
  const lines: string[] = [];
  await using container = await new GenericContainer(IMAGE)
    .withCommand(["sh", "-c", "echo soon; sleep 0.2; echo ready >&2; sleep 0.2; echo ready; exec sleep 1000"])
    .withWaitStrategy(Wait.forLogMessage(/ready/, 2))
    .withLogConsumer((stream) => stream.on("data", (line) => lines.push(String(line).trim())))
    .start();
  assert.ok(running(container.getId()));
  assert.ok(lines.includes("soon"), lines.join());
});

test("waits for health, http, a command that succeeds, and all of them", async () => {
  const probe = "wget -q -O /dev/null http://127.0.0.1/index.html";
  await using container = await new GenericContainer(IMAGE)
    .withCommand(SERVER)
    .withExposedPorts(80)
    .withHealthCheck({ test: ["CMD-SHELL", probe], interval: 200, timeout: 5000, retries: 20 })
    .withWaitStrategy(
      Wait.forAll([
        Wait.forHealthCheck(),
        Wait.forListeningPorts(),
        Wait.forHttp("/index.html", 80)
          .forStatusCode(200)
          .forResponsePredicate((body) => body === "served\n"),
        Wait.forSuccessfulCommand(probe),
      ]),
    )
    .start();
  assert.equal(
    daemon.docker("inspect", "-f", "{{.State.Health.Status}}", container.getId()).stdout.trim(),
    "healthy",
  );
});

test("a container that ends by itself is a success, or a failure to start", async () => {
  const once = await new GenericContainer(IMAGE)
    .withCommand(["true"])
    .withWaitStrategy(Wait.forOneShotStartup())
    .start();
  await once.stop();
  await assert.rejects(
    new GenericContainer(IMAGE).withCommand(["false"]).withWaitStrategy(Wait.forOneShotStartup()).start(),
  );
  await assert.rejects(
    new GenericContainer(IMAGE)
      .withCommand(["sleep", "1000"])
      .withStartupTimeout(500)
      .withWaitStrategy(Wait.forLogMessage("never"))
      .start(),
    /not received after 500ms/,
  );
});

test("exec: both streams, exit code, environment, user, directory", async () => {
  await using container = await new GenericContainer(IMAGE).withCommand(["sleep", "1000"]).start();
  const ran = await container.exec(["sh", "-c", "echo $A; id -u; pwd; echo err >&2; exit 3"], {
    env: { A: "b" },
    user: "1000",
    workingDir: "/tmp",
  });
  assert.deepEqual(
    { code: ran.exitCode, stdout: ran.stdout, stderr: ran.stderr },
    { code: 3, stdout: "b\n1000\n/tmp\n", stderr: "err\n" },
  );
});

test("files, directories, contents and archives go in, before and after the start, and come out", async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-testcontainers-"));
  try {
    writeFileSync(join(directory, "one"), "1");
    await using container = await new GenericContainer(IMAGE)
      .withCommand(["sh", "-c", "cat /in/content; exec sleep 1000"])
      .withCopyContentToContainer([{ content: "content\n", target: "/in/content", mode: 0o640 }])
      .withCopyFilesToContainer([{ source: join(directory, "one"), target: "/in/file" }])
      .withCopyDirectoriesToContainer([{ source: directory, target: "/in/directory" }])
      .withWaitStrategy(Wait.forLogMessage("content"))
      .start();
    await container.copyContentToContainer([{ content: "late", target: "/in/late" }]);
    await container.copyFilesToContainer([{ source: join(directory, "one"), target: "/in/late-file" }]);
    await container.copyArchiveToContainer(
      Readable.from([buildTar([{ type: "file", name: "packed", content: "p" }])]),
      "/in",
    );
    const { stdout } = await container.exec([
      "sh",
      "-c",
      "cd /in; cat file directory/one late late-file packed",
    ]);
    assert.equal(stdout, "11late1p");
    assert.equal((await container.exec(["stat", "-c", "%a", "/in/content"])).stdout, "640\n");
    const archive = await container.copyArchiveFromContainer("/in/late");
    assert.match(await text(archive as Readable), /^late\0/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("options: limits, tmpfs, binds, capabilities, hosts, user, ulimits, shared memory", async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-testcontainers-"));
  try {
    await using container = await new GenericContainer(IMAGE)
      .withCommand(["sleep", "1000"])
      .withResourcesQuota({ memory: 0.0625, cpu: 0.5 })
      .withTmpFs({ "/scratch": "rw,size=1m" })
      .withBindMounts([{ source: directory, target: "/bound", mode: "ro" }])
      .withAddedCapabilities("NET_ADMIN")
      .withDroppedCapabilities("CHOWN")
      .withExtraHosts([{ host: "elsewhere", ipAddress: "10.9.8.7" }])
      .withUlimits({ nofile: { soft: 100, hard: 200 } })
      .withSharedMemorySize(1 << 20)
      .withHostname("named")
      .withUser("65534")
      .withWorkingDir("/tmp")
      .withPrivilegedMode()
      .start();
    const shell = async (line: string) => (await container.exec(["sh", "-c", line])).output.trim();
    assert.match(await shell("mount"), /on \/scratch type tmpfs/);
    assert.match(await shell("touch /bound/x"), /Read-only file system|Permission denied/);
    assert.match(await shell("cat /etc/hosts"), /10\.9\.8\.7\s+elsewhere/);
    assert.equal(await shell("hostname; id -u; pwd; ulimit -n"), "named\n65534\n/tmp\n100");
    const seen = JSON.parse(daemon.docker("inspect", container.getId()).stdout)[0];
    assert.equal(seen.HostConfig.Memory, 64 << 20);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("networks: containers find each other by alias and name", async () => {
  await using network = await new Network().start();
  await using server = await new GenericContainer(IMAGE)
    .withCommand(SERVER)
    .withNetwork(network)
    .withNetworkAliases("web", "site")
    .withWaitStrategy(Wait.forLogMessage("ready"))
    .start();
  await using client = await new GenericContainer(IMAGE)
    .withCommand(["sleep", "1000"])
    .withNetwork(network)
    .start();
  for (const name of ["web", "site", server.getName().slice(1), server.getId().slice(0, 12)]) {
    // It says that it is ready before it listens.
    const asks = `wget -q -O - http://${name}/index.html`;
    const line = `for i in $(seq 60); do ${asks} && exit; sleep 0.5; done; exit 1`;
    const ran = await client.exec(["sh", "-c", line]);
    assert.equal(ran.stdout, "served\n", `${name}: ${ran.stderr}`);
  }
  assert.deepEqual(client.getNetworkNames(), [network.getName()]);
  // The library makes a container with aliases on the default bridge, and connects it before it starts.
  assert.deepEqual(server.getNetworkNames().toSorted(), ["bridge", network.getName()].toSorted());
  assert.notEqual(server.getIpAddress(network.getName()), client.getIpAddress(network.getName()));
});

test("restart keeps what was written; stop removes, or does not", async () => {
  const container = await new GenericContainer(IMAGE)
    .withCommand(["sh", "-c", "echo run >>/runs; mkdir -p /www; cp /runs /www/; exec httpd -f -p 80 -h /www"])
    .withExposedPorts(80)
    .start();
  await container.restart({ timeout: 1 });
  const answer = await fetch(`http://${container.getHost()}:${container.getMappedPort(80)}/runs`);
  assert.equal(await answer.text(), "run\nrun\n");
  const logs = await container.logs();
  logs.on("data", () => {});
  const stopped = await container.stop({ remove: false, timeout: 1 });
  assert.equal(running(stopped.getId()), false);
  assert.equal(daemon.docker("inspect", stopped.getId()).code, 0);
  await (await stopped.copyArchiveFromContainer("/runs")).resume();
  daemon.docker("rm", stopped.getId());
});

test("commit and reuse", async () => {
  const container = await new GenericContainer(IMAGE).withCommand(["sleep", "1000"]).start();
  await container.exec(["sh", "-c", "echo kept >/kept"]);
  const image = await container.commit({ repo: "test/committed", tag: "1", author: "a", comment: "c" });
  await container.stop();
  assert.match(image, /test\/committed:1|sha256:/);
  const again = async () =>
    await new GenericContainer(image).withCommand(["sleep", "1000"]).withReuse().start();
  const [first, second] = [await again(), await again()];
  assert.equal(first.getId(), second.getId());
  assert.equal((await second.exec(["cat", "/kept"])).stdout, "kept\n");
  await second.stop();
});

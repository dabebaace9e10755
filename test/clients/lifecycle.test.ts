/** A long-running container by the real command line: ports, exec, logs, stop, start, rename, rm. */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { freePorts } from "#test/fixtures/free-ports.ts";

const IMAGE = "berth/busybox";
const PORT = await freePorts();
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 2 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

function fetchText(url: string): string {
  // The server may still be about to listen.
  const patience = ["--max-time", "30", "--retry", "60", "--retry-all-errors", "--retry-delay", "1"];
  const { status, stdout, stderr } = spawnSync("curl", ["-sS", ...patience, url], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  return stdout;
}

test("a published web server is reached from everywhere it should be", () => {
  ok("run", "-d", "--name", "web", "-p", `${PORT}:80`, "-v", "www:/www", IMAGE, "httpd", "-f", "-h", "/www");
  ok("exec", "web", "sh", "-c", "echo hi > /www/index.html");
  assert.equal(fetchText(`http://127.0.0.1:${PORT}/`), "hi\n");
  const own = Object.values(networkInterfaces())
    .flat()
    .filter((address) => address?.family === "IPv4" && !address.internal)
    .map((address) => address?.address);
  for (const address of own) assert.equal(fetchText(`http://${address}:${PORT}/`), "hi\n", address);
  const inside = ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web");
  assert.equal(ok("run", "--rm", IMAGE, "wget", "-qO-", `http://${inside}/`), "hi");
  assert.equal(ok("run", "--rm", IMAGE, "wget", "-qO-", `http://${daemon.gateway}:${PORT}/`), "hi");
  assert.match(ok("port", "web"), new RegExp(`80/tcp -> 0.0.0.0:${PORT}`));
  assert.match(ok("ps", "--filter", "name=web"), /Up .*->80\/tcp\s+web/);
});

/** Sends one datagram and answers what comes back within a second; empty if nothing does. */
function askUdp(address: string, port: number): Promise<string> {
  return new Promise((done) => {
    const socket = createSocket("udp4");
    const finish = (answer: string) => {
      clearTimeout(timer);
      socket.close();
      done(answer);
    };
    const timer = setTimeout(() => finish(""), 1000);
    socket.once("message", (message) => finish(message.toString()));
    socket.send("ping", port, address);
  });
}

test("a UDP port is published too", async () => {
  const echo = join(daemon.directory, "udp-echo");
  execFileSync("gcc", ["-static", "-o", echo, join(import.meta.dirname, "../fixtures/udp-echo.c")]);
  ok(
    "run",
    "-d",
    "--name",
    "udp",
    "-p",
    `${PORT}:9000/udp`,
    "-v",
    `${echo}:/udp-echo:ro`,
    IMAGE,
    "/udp-echo",
  );
  for (const address of ["127.0.0.1", daemon.gateway]) {
    let answer = "";
    for (let attempt = 0; attempt < 60 && answer === ""; attempt++) answer = await askUdp(address, PORT);
    assert.equal(answer, "ping", address);
  }
  ok("rm", "-f", "udp");
});

test("a port that another container has is refused; the container is there, nothing else is", async () => {
  const links = () => readdirSync(`/sys/class/net/${daemon.bridge}/brif`);
  const rules = () =>
    spawnSync("iptables-save", { encoding: "utf8" })
      .stdout.split("\n")
      .filter((line) => line.startsWith("-A") && line.includes(daemon.bridge));
  // What the test before has removed goes behind the answer.
  await eventually(() => {
    assert.equal(links().length, 1);
    assert.doesNotMatch(rules().join("\n"), /\b9000\b/);
  });
  const earlier = [links(), rules()];
  const ran = daemon.docker("run", "-d", "--name", "second", "-p", `${PORT}:80`, IMAGE, "sleep", "1");
  assert.equal(ran.code, 125);
  assert.match(ran.stderr, /port is already allocated/);
  assert.equal(ok("inspect", "-f", "{{.State.Status}}", "second"), "created");
  assert.deepEqual([links(), rules()], earlier);
  ok("rm", "second");
});

test("a port that a process of the host has is refused", async () => {
  const taken = await freePorts();
  const server = createServer().listen(taken, "0.0.0.0");
  await new Promise((done) => server.once("listening", done));
  const ran = await daemon.dockerAsync("run", "--rm", "-p", `${taken}:80`, IMAGE, "true");
  server.close();
  assert.equal(ran.code, 125);
  assert.match(ran.stderr, /address already in use/);
});

test("exec: output, input, exit codes, user, environment", () => {
  assert.equal(ok("exec", "-e", "A=1", "-w", "/tmp", "web", "sh", "-c", "echo $A; pwd"), "1\n/tmp");
  assert.equal(daemon.docker("exec", "web", "sh", "-c", "exit 5").code, 5);
  assert.equal(daemon.docker("exec", "web", "no-such-command").code, 127);
  assert.equal(daemon.docker("exec", "web", "/etc/passwd").code, 126);
  assert.equal(ok("exec", "-u", "nobody", "web", "id", "-un"), "nobody");
  assert.equal(daemon.dockerWith({ input: "x\ny\n" }, "exec", "-i", "web", "wc", "-l").stdout.trim(), "2");
  ok("exec", "-d", "web", "touch", "/tmp/detached");
  assert.match(ok("top", "web"), /httpd/);
});

test("logs: tail, since, timestamps, streams, follow to the end", async () => {
  ok(
    "run",
    "-d",
    "--name",
    "talker",
    IMAGE,
    "sh",
    "-c",
    "for i in 1 2 3; do echo line $i; done; echo oops >&2; sleep 1; echo last",
  );
  const follow = daemon.dockerAsync("logs", "-f", "talker");
  assert.equal(ok("wait", "talker"), "0");
  assert.deepEqual(await follow, { code: 0, stdout: "line 1\nline 2\nline 3\nlast\n", stderr: "oops\n" });
  assert.equal(ok("logs", "--tail", "1", "talker"), "last");
  assert.match(ok("logs", "-t", "--tail", "1", "talker"), /^\d{4}-\d\d-\d\dT[\d:.]+Z last$/);
  assert.equal(daemon.docker("logs", "--since", "2099-01-01T00:00:00Z", "talker").stdout, "");
  ok("rm", "talker");
});

test("stop, start, restart, rename, kill; the data of volumes stays", () => {
  ok("stop", "-t", "1", "web");
  assert.match(ok("ps", "-a", "--filter", "name=web"), /Exited \(\d+\)/);
  ok("start", "web");
  assert.equal(fetchText(`http://127.0.0.1:${PORT}/`), "hi\n");
  ok("restart", "-t", "0", "web");
  assert.equal(fetchText(`http://127.0.0.1:${PORT}/`), "hi\n");
  ok("rename", "web", "site");
  ok("kill", "site");
  assert.equal(ok("inspect", "-f", "{{.State.ExitCode}}", "site"), "137");
  ok("rename", "site", "web");
  ok("start", "web");
});

test("pause stops the processes, unpause lets them go on", () => {
  ok("pause", "web");
  assert.match(ok("ps"), /\(Paused\)/);
  ok("unpause", "web");
  assert.equal(fetchText(`http://127.0.0.1:${PORT}/`), "hi\n");
});

test("rm -f -v gives everything back", async () => {
  const id = ok("inspect", "-f", "{{.Id}}", "web");
  assert.ok(existsSync(`/sys/fs/cgroup/memory/berth/${id}`));
  ok("rm", "-f", "-v", "web");
  const refused = spawnSync("curl", ["-s", "--max-time", "2", `http://127.0.0.1:${PORT}/`]);
  assert.notEqual(refused.status, 0);
  const left = () => [
    ...readdirSync(`${daemon.dataRoot}/containers`),
    ...readdirSync(`${daemon.execRoot}/containers`),
    ...readdirSync("/sys/fs/cgroup/memory/berth").filter((name) => name === id),
  ];
  await eventually(() => assert.deepEqual(left(), []));
});

test("attach sees what comes, and the container's end", async () => {
  const script = "while [ ! -e /go ]; do sleep 0.05; done; echo seen; exit 3";
  ok("run", "-d", "--name", "slow", IMAGE, "sh", "-c", script);
  const attached = daemon.dockerAsync("attach", "slow");
  await eventually(() => {
    const until = String(Date.now() / 1000);
    const told = ok("events", "--since", "0", "--until", until, "-f", "container=slow", "-f", "event=attach");
    assert.match(told, /container attach/);
  });
  ok("exec", "slow", "touch", "/go");
  const ran = await attached;
  assert.deepEqual([ran.code, ran.stdout], [3, "seen\n"]);
  ok("rm", "slow");
});

test("events tell the life of a container in order", async () => {
  const child = spawn(
    "docker",
    [
      ...["events", "--format", "{{.Type}} {{.Action}}", "--filter", "type=container"],
      // Whenever it comes to asking.
      ...["--since", String(Date.now() / 1000)],
    ],
    { env: daemon.environment },
  );
  let seen = "";
  child.stdout.on("data", (chunk) => {
    seen += chunk;
  });
  await daemon.dockerAsync("run", "--rm", IMAGE, "true");
  await eventually(() => assert.match(seen, /destroy/));
  child.kill();
  assert.deepEqual(
    seen.trim().split("\n"),
    ["create", "attach", "start", "die", "destroy"].map((action) => `container ${action}`),
  );
});

test("inspect shows the layout on disk that Docker's users know", () => {
  ok("create", "--name", "made", IMAGE, "true");
  const driver = JSON.parse(ok("inspect", "-f", "{{json .GraphDriver}}", "made"));
  assert.equal(driver.Name, "overlay2");
  assert.match(driver.Data.UpperDir, /overlay2\/[0-9a-f]{64}\/diff$/);
  assert.ok(existsSync(driver.Data.UpperDir));
  for (const lower of driver.Data.LowerDir.split(":")) assert.ok(existsSync(lower), lower);
  const id = ok("inspect", "-f", "{{.Id}}", "made");
  assert.equal(readFileSync(`${daemon.dataRoot}/overlay2/${id}/link`, "utf8").length, 26);
  ok("rm", "made");
});

/** Secrets that pass through the daemon: in no log line of it, and in no command line or environment of what it starts. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { VolumePlugin } from "#test/fixtures/volume-plugin.ts";

const IMAGE = "berth/busybox";
/** No other text on the machine has it in it, and no argument of this test's own commands is looked at. */
const SECRET = `sesame${process.pid}x${process.hrtime.bigint().toString(36)}`;
let daemon: TestDaemon;
let plugin: VolumePlugin;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 76, flags: ["--debug"] });
  plugin = await VolumePlugin.start({
    directory: `${daemon.directory}/plugin`,
    socket: `${daemon.execRoot}/plugins/keeper.sock`,
  });
  daemon.loadBusybox();
});
after(async () => {
  await daemon.stop();
  await plugin[Symbol.asyncDispose]();
});

const read = (path: string) => {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // It ended in between.
  }
};

function namespaceOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return "ended";
  }
}

/** Of the host's processes outside of containers: those whose command line or environment has the secret in it. */
function betrayers(): string[] {
  const inside = (pid: string) => namespaceOf(pid) !== namespaceOf("self");
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid && !inside(name))
    .filter((pid) => ["cmdline", "environ"].some((file) => read(`/proc/${pid}/${file}`).includes(SECRET)))
    .map((pid) => `${pid} ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`);
}

function shims(): number {
  return readdirSync("/proc").filter((name) => {
    const line = read(`/proc/${name}/cmdline`);
    return /^\d+$/.test(name) && line.includes("launcher") && line.includes(daemon.execRoot);
  }).length;
}

test("the environment of a container and of an exec is the container's alone", async () => {
  const id = daemon.ok(
    "run",
    "-d",
    "-e",
    `PASSWORD=${SECRET}`,
    "--label",
    `note=${SECRET}`,
    IMAGE,
    "sleep",
    "1000",
  );
  daemon.ok("exec", "-d", "-e", `TOKEN=${SECRET}`, id, "sleep", "1000");
  await eventually(() => assert.match(daemon.ok("top", id), /sleep[\s\S]*sleep/));
  // It is there to be found: the container's own process has it.
  const pid = daemon.ok("inspect", "-f", "{{.State.Pid}}", id);
  assert.ok(read(`/proc/${pid}/environ`).includes(SECRET));
  assert.ok(shims() > 0);
  assert.deepEqual(betrayers(), []);
  daemon.ok("rm", "-f", id);
});

test("passwords of registries, tokens of log drivers, options of volumes are not logged", async () => {
  const auth = { username: "me", password: SECRET, serveraddress: "127.0.0.1:1" };
  assert.notEqual((await daemon.api("POST", "/auth", auth)).status, 200);
  // A reference with a password in it, an unknown parameter, a body that is no JSON: all that errors quote.
  await daemon.api("POST", `/images/create?fromImage=127.0.0.1:1/x&tag=1&token=${SECRET}`);
  await daemon.api("POST", `/images/create?fromSrc=http://me:${SECRET}@127.0.0.1:1/x.tar`);
  await daemon.api("POST", "/containers/create", { Image: 5, Env: [SECRET] });
  const splunk = ["--log-driver", "splunk", "--log-opt", `splunk-token=${SECRET}`];
  const verify = [
    "--log-opt",
    "splunk-url=http://127.0.0.1:1",
    "--log-opt",
    "splunk-verify-connection=false",
  ];
  const id = daemon.ok("run", "-d", ...splunk, ...verify, IMAGE, "echo", "to nowhere");
  daemon.ok("wait", id);
  daemon.docker("run", "--rm", ...splunk, "--log-opt", "splunk-url=nonsense", IMAGE, "true");
  // The plugin answers in this very process.
  const made = await daemon.dockerAsync(
    "volume",
    "create",
    "-d",
    "keeper",
    "-o",
    `password=${SECRET}`,
    "kept",
  );
  assert.equal(made.code, 0, made.stderr);
  assert.ok(plugin.asked.some(({ body }) => body.Opts?.password === SECRET));
  const cifs = ["-o", "type=cifs", "-o", "device=//127.0.0.1/none", "-o", `o=username=me,password=${SECRET}`];
  daemon.ok("volume", "create", ...cifs, "share");
  daemon.docker("run", "--rm", "-v", "share:/s", IMAGE, "true");
  assert.deepEqual(betrayers(), []);
  daemon.ok("rm", "-f", id);
  assert.equal((await daemon.dockerAsync("volume", "rm", "kept", "share")).code, 0);
  const lines = daemon
    .log()
    .split("\n")
    .filter((line) => line.includes(SECRET));
  assert.deepEqual(lines, []);
  // It did log at that level.
  assert.match(daemon.log(), /level=debug/);
});

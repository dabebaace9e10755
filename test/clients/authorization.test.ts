/** Authorization plugins by the real command line: a plugin in a process of its own decides what the daemon does for whom. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { AuthorizationPlugin } from "#test/fixtures/authorization-plugin.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { freePorts } from "#test/fixtures/free-ports.ts";
import { pluginServer } from "#test/fixtures/plugin-server.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
let plugin: AuthorizationPlugin;
let port: number;
let file: (name: string) => string;

function makeCertificates(): void {
  const openssl = (...argv: string[]) =>
    execFileSync("openssl", argv, { cwd: daemon.directory, stdio: "ignore" });
  const fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...fresh,
    "-days",
    "2",
    "-keyout",
    "ca-key.pem",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=test ca",
  );
  writeFileSync(file("ext"), "subjectAltName=IP:127.0.0.1\n");
  for (const name of ["server", "alice"]) {
    openssl(
      "req",
      ...fresh,
      "-keyout",
      `${name}-key.pem`,
      "-out",
      `${name}.csr`,
      "-subj",
      `/O=staff/CN=${name}`,
    );
    const signed = [
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca-key.pem",
      "-CAcreateserial",
      "-extfile",
      "ext",
      "-days",
      "2",
    ];
    openssl("x509", "-req", "-in", `${name}.csr`, ...signed, "-out", `${name}.pem`);
  }
}

/** Writes the plugins into the configuration file, and has the daemon read it. */
function reload(names: string[]): void {
  writeFileSync(file("daemon.json"), JSON.stringify({ "authorization-plugins": names }));
  process.kill(daemon.pid, "SIGHUP");
}

/** How many times the daemon has done so. */
function reloads(): number {
  return daemon.log().match(/the configuration (has been reloaded|is left as it was)/g)?.length ?? 0;
}

/** The plugins of the configuration file, in force once the daemon has read it. */
async function configure(names: string[]): Promise<void> {
  const earlier = reloads();
  reload(names);
  await eventually(() => assert.ok(reloads() > earlier));
}

before(async () => {
  port = await freePorts();
  const flags: string[] = [];
  daemon = new TestDaemon({ subnet: 72, flags });
  file = (name) => join(daemon.directory, name);
  makeCertificates();
  writeFileSync(file("daemon.json"), JSON.stringify({ "authorization-plugins": ["guard"] }));
  flags.push("-H", `tcp://127.0.0.1:${port}`, "--tlsverify", "--tlscacert", file("ca.pem"));
  flags.push("--tlscert", file("server.pem"), "--tlskey", file("server-key.pem"));
  flags.push("--config-file", file("daemon.json"), "--debug");
  plugin = await AuthorizationPlugin.start(join(daemon.execRoot, "plugins/guard.sock"), file("plugin-calls"));
  await daemon.boot();
  daemon.loadBusybox();
});
after(async () => {
  try {
    plugin.rule({});
    await daemon.stop();
  } finally {
    await plugin.end();
  }
});

test("what the plugin denies is not done, and the client reads why", () => {
  plugin.rule({ deny: 'POST .*/containers/create.*"Privileged":true' });
  const denied = "authorization denied by plugin guard: not today";
  assert.equal(daemon.refused("run", "--rm", "--privileged", IMAGE, "true"), denied);
  assert.equal(daemon.ok("ps", "-aq"), "");
  assert.equal(daemon.ok("run", "--rm", IMAGE, "echo", "went on"), "went on");
  plugin.rule({ fail: "GET .*/containers/json" });
  assert.equal(daemon.refused("ps"), "plugin guard failed with error: out of order");
  plugin.rule({});
  assert.equal(daemon.ok("info", "-f", "{{json .Plugins.Authorization}}"), '["guard"]');
});

test("streams, uploads and terminals pass through", () => {
  const id = daemon.ok("run", "-d", "-i", IMAGE, "cat");
  assert.equal(daemon.dockerWith({ input: "in and out" }, "exec", "-i", id, "cat").stdout, "in and out");
  assert.equal(daemon.dockerWith({ input: "FROM scratch" }, "cp", file("ca.pem"), `${id}:/ca.pem`).code, 0);
  assert.equal(daemon.ok("exec", id, "wc", "-l", "/ca.pem").length > 0, true);
  daemon.ok("logs", id);
  daemon.ok("rm", "-f", id);
});

test("the plugin is told whose certificate it was", () => {
  plugin.forgetCalls();
  const tls = [
    "--tlsverify",
    "--tlscacert",
    file("ca.pem"),
    "--tlscert",
    file("alice.pem"),
    "--tlskey",
    file("alice-key.pem"),
  ];
  daemon.ok("-H", `tcp://127.0.0.1:${port}`, ...tls, "ps");
  const call = plugin.calls.find(
    ({ method, question }) =>
      method === "AuthZPlugin.AuthZReq" && /containers\/json/.test(question.RequestUri),
  );
  assert.equal(call?.question.User, "alice");
  assert.equal(call?.question.UserAuthNMethod, "TLS");
  const [pem = ""] = call?.question.RequestPeerCertificates ?? [];
  assert.match(Buffer.from(pem, "base64").toString(), /^-----BEGIN CERTIFICATE-----/);
  assert.match(call?.question.RequestHeaders["User-Agent"] ?? "", /Docker-Client/);
  plugin.forgetCalls();
  daemon.ok("ps");
  assert.ok(plugin.calls.length > 0 && plugin.calls.every(({ question }) => !("User" in question)));
});

test("a plugin that is gone lets nothing through; one that never was is not taken over from the file", async () => {
  await plugin.end();
  const gone = 'plugin guard failed with error: plugin "guard" not found';
  assert.equal(daemon.refused("ps"), gone);
  assert.equal(daemon.refused("run", "--rm", IMAGE, "true"), gone);
  await plugin.run();
  assert.equal(daemon.ok("ps", "-q"), "");
  await configure(["guard", "nobody"]);
  assert.match(daemon.log(), /left as it was.*nobody/);
  assert.equal(daemon.ok("ps", "-q"), "");
  await configure([]);
  plugin.forgetCalls();
  assert.equal(daemon.ok("info", "-f", "{{json .Plugins.Authorization}}"), "null");
  assert.deepEqual(plugin.calls, []);
  await configure(["guard"]);
  daemon.ok("ps");
  assert.ok(plugin.calls.length > 0);
});

test("a configuration that has to wait for its plugin does not come into force behind a later one", async () => {
  const activation = Promise.withResolvers<ServerResponse>();
  const slow = pluginServer((method, _, response) => {
    if (method === "Plugin.Activate") activation.resolve(response);
    else response.end('{"Allow": true}');
  });
  slow.listen(join(daemon.execRoot, "plugins/slow.sock"));
  const earlier = reloads();
  reload(["guard", "slow"]);
  const response = await activation.promise;
  reload(["guard"]);
  // The signal is heard before this is answered.
  daemon.ok("ps");
  response.end('{"Implements": ["authz"]}');
  await eventually(() => assert.equal(reloads(), earlier + 2));
  const { body } = await daemon.api("GET", "/info");
  slow.close();
  assert.deepEqual(JSON.parse(body).Plugins.Authorization, ["guard"]);
});

test("a daemon whose plugin is not there starts, keeps containers, and refuses every request", async () => {
  const id = daemon.ok("run", "-d", IMAGE, "sleep", "1000");
  const pid = Number(daemon.ok("inspect", "-f", "{{.State.Pid}}", id));
  await daemon.kill();
  await plugin.end();
  // It counts as there when it answers; this one answers nobody.
  const booted = daemon.boot();
  await eventually(() => assert.match(daemon.log(), /every request is refused until the plugin is there/));
  // It says so before it listens.
  await eventually(async () => assert.equal((await daemon.api("GET", "/containers/json")).status, 500));
  process.kill(pid, 0);
  await plugin.run();
  await booted;
  assert.equal(daemon.ok("inspect", "-f", "{{.State.Pid}}", id), String(pid));
  daemon.ok("rm", "-f", id);
});

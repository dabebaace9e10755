/** docker exec with every option, its inspect, its events, and what the state of the container has to do with it. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { Terminal } from "#test/fixtures/terminal.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 34 });
  daemon.loadBusybox();
  ok("run", "-d", "--name", "box", "-e", "BASE=b", "-w", "/tmp", IMAGE, "sleep", "1000");
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);

async function api(method: string, path: string, body?: unknown) {
  const answer = await daemon.api(method, `/v1.51${path}`, body);
  return { status: answer.status, json: answer.body === "" ? undefined : JSON.parse(answer.body) };
}

async function create(request: object, container = "box"): Promise<string> {
  const { status, json } = await api("POST", `/containers/${container}/exec`, request);
  assert.equal(status, 201, JSON.stringify(json));
  return json.Id;
}

test("environment, directory, user and privileges are the container's until they are given", () => {
  assert.equal(ok("exec", "box", "sh", "-c", "echo $BASE; pwd; id -u"), "b\n/tmp\n0");
  assert.equal(
    ok("exec", "-e", "BASE=x", "-e", "MORE=y", "-w", "/etc", "box", "sh", "-c", "echo $BASE$MORE; pwd"),
    "xy\n/etc",
  );
  assert.equal(ok("exec", "-u", "1234:5678", "box", "sh", "-c", "id -u; id -g"), "1234\n5678");
  const capabilities = (...flags: string[]) =>
    ok("exec", ...flags, "box", "grep", "CapEff", "/proc/self/status").split("\t")[1] ?? "";
  assert.equal(capabilities(), "00000000a80425fb");
  assert.ok(BigInt(`0x${capabilities("--privileged")}`) > 0xffffffffn);
  assert.equal(capabilities("-u", "1234"), "0000000000000000");
});

test("its end is the client's: codes of programs, of signals, of what cannot be started", () => {
  const code = (...command: string[]) => daemon.docker("exec", "box", ...command).code;
  assert.equal(code("sh", "-c", "exit 42"), 42);
  assert.equal(code("sh", "-c", "kill -9 $$"), 137);
  assert.equal(code("no-such-program"), 127);
  assert.equal(code("/etc/passwd"), 126);
  assert.match(daemon.docker("exec", "-w", "/none", "box", "true").stdout, /no such file or directory/);
  assert.match(
    daemon.docker("exec", "-u", "nobodyhere", "box", "true").stdout,
    /unable to find user nobodyhere/,
  );
});

test("input of any length goes in, output comes out on its own stream", () => {
  const input = "line\n".repeat(100_000);
  const counted = daemon.dockerWith({ input }, "exec", "-i", "box", "wc", "-c");
  assert.equal(counted.stdout.trim(), String(input.length));
  const both = daemon.docker("exec", "box", "sh", "-c", "echo out; echo err >&2");
  assert.deepEqual([both.stdout, both.stderr], ["out\n", "err\n"]);
});

test("detached it goes on, is listed and described; ended it is described still", async () => {
  const script = "while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 3";
  const id = await create({
    Cmd: ["sh", "-c", script],
    User: "1000",
    WorkingDir: "/",
    Env: ["A=1"],
    DetachKeys: "ctrl-x",
    AttachStdout: true,
  });
  const expected = {
    ID: id,
    Running: false,
    ExitCode: null as number | null,
    ProcessConfig: {
      tty: false,
      entrypoint: "sh",
      arguments: ["-c", script],
      privileged: false,
      user: "1000",
    },
    OpenStdin: false,
    OpenStderr: false,
    OpenStdout: true,
    CanRemove: false,
    ContainerID: ok("inspect", "-f", "{{.Id}}", "box"),
    DetachKeys: "GA==",
    Pid: 0,
  };
  const inspect = async () => (await api("GET", `/exec/${id}/json`)).json;
  assert.deepEqual(await inspect(), expected);
  assert.equal((await api("POST", `/exec/${id}/resize?h=10&w=10`)).status, 409);
  assert.equal((await api("POST", `/exec/${id}/start`, { Detach: true })).status, 200);
  const running = await inspect();
  assert.ok(running.Pid > 0);
  assert.deepEqual(running, { ...expected, Running: true, Pid: running.Pid });
  assert.ok(JSON.parse(ok("inspect", "-f", "{{json .ExecIDs}}", "box")).includes(id));
  assert.equal((await api("POST", `/exec/${id}/start`, { Detach: true })).status, 409);
  ok("exec", "box", "touch", "/tmp/go");
  await eventually(async () => assert.equal((await inspect()).ExitCode, 3));
  assert.equal((await inspect()).Running, false);
  assert.equal(
    (await api("POST", `/exec/${id}/start`, { Detach: true })).json.message,
    `exec ${id} has already run`,
  );
  assert.ok(!(JSON.parse(ok("inspect", "-f", "{{json .ExecIDs}}", "box")) ?? []).includes(id));
});

test("a terminal has the client's size, follows it, and is left by its keys", async () => {
  using terminal = new Terminal(daemon, "exec");
  terminal.type('docker exec -it --detach-keys ctrl-e,e box sh; echo "code=$?"', "Enter");
  await terminal.shows(/\/tmp #/);
  terminal.type("stty size", "Enter");
  await terminal.shows(/\n24 80/);
  terminal.resize(91, 31);
  await eventually(() => {
    terminal.type("stty size", "Enter");
    assert.match(terminal.screen, /\n31 91/);
  });
  terminal.type("C-e", "e");
  // The client's own word and code for that.
  await terminal.shows(/read escape sequence\s+code=1/);
});

test("typed keys leave an exec of any client, which goes on, and an event tells it", async () => {
  const id = await create({
    Cmd: ["sleep", "1000"],
    Tty: true,
    AttachStdin: true,
    AttachStdout: true,
    DetachKeys: "ctrl-e,e",
  });
  const connection = connect(daemon.socket);
  const closed = new Promise((resolve) => connection.once("close", resolve));
  connection.resume();
  const body = JSON.stringify({ Detach: false, Tty: true });
  const head = ["Host: x", "Connection: Upgrade", "Upgrade: tcp", "Content-Type: application/json"];
  connection.write(
    `POST /v1.51/exec/${id}/start HTTP/1.1\r\n${head.join("\r\n")}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await eventually(async () => assert.equal((await api("GET", `/exec/${id}/json`)).json.Running, true));
  connection.write("x\x05");
  connection.write("e");
  await closed;
  assert.equal((await api("GET", `/exec/${id}/json`)).json.Running, true);
  // The event may have come in this millisecond, of which the clock tells the beginning.
  const until = String(Date.now() / 1000 + 1);
  const told = ok(
    ...["events", "--since", "0", "--until", until, "-f", "event=exec_detach"],
    ...["--format", "{{.Action}} {{.Actor.Attributes.execID}}"],
  );
  assert.equal(told, `exec_detach ${id}`);
});

test("paused, restarting, stopped, removed: what cannot be done is refused in Docker's words", async () => {
  ok("run", "-d", "--name", "state", IMAGE, "sleep", "1000");
  const id = await create({ Cmd: ["true"] }, "state");
  ok("pause", "state");
  assert.match(
    daemon.docker("exec", "state", "true").stderr,
    /Container state is paused, unpause the container before exec/,
  );
  const paused = await api("POST", `/exec/${id}/start`, { Detach: true });
  assert.equal(paused.status, 409);
  ok("unpause", "state");
  ok("stop", "-t", "0", "state");
  assert.match(daemon.docker("exec", "state", "true").stderr, /container [0-9a-f]{64} is not running/);
  // What was never started has gone with the run it was for.
  assert.equal((await api("GET", `/exec/${id}/json`)).status, 404);
  ok("start", "state");
  const ran = daemon.dockerAsync("exec", "state", "sleep", "999");
  // Listed it is before it is started, which would fail where the container goes.
  await eventually(() => assert.match(ok("top", "state"), /sleep 999/));
  ok("rm", "-f", "state");
  assert.equal((await ran).code, 137);
  assert.match(daemon.docker("exec", "state", "true").stderr, /No such container: state/);
  assert.equal((await api("POST", "/exec/nosuch/start", {})).json.message, "No such exec instance: nosuch");
  assert.equal(
    (await api("POST", "/containers/box/exec", { Cmd: [] })).json.message,
    "No exec command specified",
  );
});

test("a daemon's death leaves execs alone, and nothing of them behind", async () => {
  ok("exec", "-d", "box", "sh", "-c", "sleep 1; touch /tmp/through");
  await daemon.kill("SIGKILL");
  await daemon.boot();
  await eventually(() => assert.equal(daemon.docker("exec", "box", "test", "-e", "/tmp/through").code, 0));
});

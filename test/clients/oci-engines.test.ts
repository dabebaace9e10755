/** Other engines, unmodified, run their containers by berth-oci: Debian's containerd, dockerd and podman. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { eventually } from "#test/fixtures/eventually.ts";
import { Containerd, Dockerd, Podman, RUNTIME } from "#test/fixtures/peer-engines.ts";

const LIMIT = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
const TRAP = "trap 'exit 9' TERM; echo begun; while :; do sleep 0.1; done";

describe("containerd", () => {
  let engine: Containerd;
  const image = "docker.io/berth/busybox:latest";
  before(async () => {
    engine = await Containerd.start();
  });
  after(() => engine[Symbol.asyncDispose]());
  const run = (id: string, args: string[], options: string[] = []) => [
    "run",
    "--rm",
    "--runc-binary",
    RUNTIME,
    ...options,
    image,
    id,
    ...args,
  ];

  it("runs: output, input, exit code, no such command", () => {
    assert.deepEqual(engine.ctr(run("c1", ["echo", "hello"])), { code: 0, output: "hello" });
    assert.deepEqual(engine.ctr(run("c2", ["head", "-n1"]), { input: "typed\n" }), {
      code: 0,
      output: "typed",
    });
    assert.equal(engine.ctr(run("c3", ["sh", "-c", "exit 7"])).code, 7);
    assert.match(engine.ctr(run("c4", ["nosuch"])).output, /executable file not found in \$PATH/);
  });

  it("gives a terminal", () => {
    const ran = engine.ctr(run("t1", ["sh", "-c", "tty; exit 5"], ["-t"]), { tty: true });
    assert.deepEqual(ran, { code: 5, output: "/dev/pts/0" });
  });

  it("holds, lists, looks into, pauses and ends a task", async () => {
    const options = ["-d", "--null-io", "--runc-binary", RUNTIME, "--memory-limit", "67108864"];
    assert.equal(engine.ctr(["run", ...options, image, "task", "sleep", "1000"]).code, 0);
    const status = () => /task +\d+ +(\w+)/.exec(engine.ctr(["task", "ls"]).output)?.[1];
    assert.equal(status(), "RUNNING");
    const exec = (id: string, ...args: string[]) =>
      engine.ctr(["task", "exec", "--exec-id", id, "task", ...args]);
    assert.deepEqual(exec("e1", "echo", "inside"), { code: 0, output: "inside" });
    assert.equal(exec("e2", "sh", "-c", "exit 3").code, 3);
    assert.equal(engine.ctr(["task", "pause", "task"]).code, 0);
    assert.equal(status(), "PAUSED");
    assert.equal(engine.ctr(["task", "resume", "task"]).code, 0);
    assert.match(engine.ctr(["task", "metrics", "task"]).output, /memory\.limit_in_bytes +67108864/);
    assert.match(engine.ctr(["task", "ps", "task"]).output, /^PID +INFO\n\d+/);
    assert.equal(engine.ctr(["task", "kill", "-s", "KILL", "task"]).code, 0);
    await eventually(() => assert.equal(status(), "STOPPED"));
    assert.match(engine.ctr(["task", "delete", "task"]).output, /exit code 137/);
    assert.equal(engine.ctr(["container", "delete", "task"]).code, 0);
  });
});

describe("dockerd", () => {
  let engine: Dockerd;
  const image = "berth/busybox";
  before(async () => {
    engine = await Dockerd.start();
  });
  after(async () => {
    engine.docker(["rm", "-f", "web"]);
    await engine[Symbol.asyncDispose]();
  });
  const run = (...args: string[]) => ["run", "--rm", "--runtime", "berth", ...args];

  it("runs: output, input, exit codes, init, terminal", () => {
    assert.deepEqual(engine.docker(run(image, "echo", "hello")), { code: 0, output: "hello" });
    assert.deepEqual(engine.docker(run("-i", image, "wc", "-l"), { input: "a\nb\n" }), {
      code: 0,
      output: "2",
    });
    assert.equal(engine.docker(run(image, "sh", "-c", "exit 7")).code, 7);
    assert.equal(engine.docker(run(image, "nosuch")).code, 127);
    assert.equal(engine.docker(run(image, "/etc")).code, 126);
    assert.match(engine.docker(run("--init", image, "ps")).output, /1 root +\/sbin\/docker-init -- ps/);
    // dockerd may lose the last words of one that ends at once.
    const tty = engine.docker(run("-it", image, "sh", "-c", "tty; sleep 1; exit 6"), { tty: true });
    assert.deepEqual(tty, { code: 6, output: "/dev/pts/0" });
  });

  it("networks it by its hook", () => {
    const ran = engine.docker(run(image, "ip", "-o", "-4", "addr", "show", "dev", "eth0"));
    assert.ok(ran.output.includes(`inet ${engine.gateway.replace(/1$/, "")}`), ran.output);
    assert.equal(engine.docker(run(image, "ping", "-c1", "-W5", engine.gateway)).code, 0);
  });

  it("limits, updates, looks into, pauses, stops, starts and kills", () => {
    const options = [
      "-d",
      "--name",
      "web",
      "--runtime",
      "berth",
      "-m",
      "64m",
      "--cpus",
      "0.5",
      "--pids-limit",
      "50",
    ];
    assert.equal(engine.docker(["run", ...options, image, "sh", "-c", TRAP]).code, 0);
    const exec = (...args: string[]) => engine.docker(["exec", "web", ...args]);
    assert.equal(exec("cat", LIMIT).output, "67108864");
    assert.equal(exec("cat", "/sys/fs/cgroup/pids/pids.max").output, "50");
    assert.equal(exec("sh", "-c", "exit 3").code, 3);
    assert.match(exec("nosuch").output, /executable file not found in \$PATH/);
    assert.deepEqual(engine.docker(["exec", "-it", "web", "tty"], { tty: true }), {
      code: 0,
      output: "/dev/pts/0",
    });
    assert.equal(engine.docker(["update", "-m", "128m", "--memory-swap", "256m", "web"]).code, 0);
    assert.equal(exec("cat", LIMIT).output, String(128 << 20));
    assert.match(engine.docker(["stats", "--no-stream", "web"]).output, /128MiB/);
    assert.match(engine.docker(["top", "web"]).output, /sh -c trap/);
    assert.equal(engine.docker(["pause", "web"]).code, 0);
    assert.equal(engine.docker(["inspect", "-f", "{{.State.Status}}", "web"]).output, "paused");
    assert.equal(engine.docker(["unpause", "web"]).code, 0);
    assert.equal(engine.docker(["logs", "web"]).output, "begun");
    assert.equal(engine.docker(["stop", "web"]).code, 0);
    assert.equal(engine.docker(["wait", "web"]).output, "9");
    assert.equal(engine.docker(["start", "web"]).code, 0);
    assert.equal(engine.docker(["kill", "web"]).code, 0);
    assert.equal(engine.docker(["wait", "web"]).output, "137");
    assert.equal(engine.docker(["rm", "web"]).code, 0);
  });
});

const withoutPodman = Podman.missing();
describe(withoutPodman ? `podman (skipped: ${withoutPodman})` : "podman", { skip: withoutPodman }, () => {
  let engine: Podman;
  const image = "localhost/berth/busybox";
  before(() => {
    engine = new Podman();
  });
  after(() => engine[Symbol.dispose]());
  const run = (...args: string[]) => ["run", "--rm", "--network", "none", ...args];

  it("runs: output, input, exit codes, terminal, without control groups", () => {
    assert.deepEqual(engine.podman(run(image, "echo", "hello")), { code: 0, output: "hello" });
    assert.deepEqual(engine.podman(run("-i", image, "cat"), { input: "typed\n" }), {
      code: 0,
      output: "typed",
    });
    assert.equal(engine.podman(run(image, "sh", "-c", "exit 7")).code, 7);
    assert.equal(engine.podman(run(image, "nosuch")).code, 127);
    const tty = engine.podman(run("-it", image, "sh", "-c", "tty; exit 5"), { tty: true });
    assert.deepEqual(tty, { code: 5, output: "/dev/pts/0" });
  });

  it("limits, looks into, pauses, stops and removes", () => {
    const options = ["-d", "--name", "web", "--network", "none", "-m", "64m", "--pids-limit", "50"];
    assert.equal(engine.podman(["run", ...options, image, "sh", "-c", TRAP]).code, 0);
    const exec = (...args: string[]) => engine.podman(["exec", "web", ...args]);
    assert.equal(exec("cat", LIMIT).output, "67108864");
    assert.equal(exec("sh", "-c", "exit 3").code, 3);
    assert.equal(exec("nosuch").code, 127);
    assert.deepEqual(engine.podman(["exec", "-it", "web", "tty"], { tty: true }), {
      code: 0,
      output: "/dev/pts/0",
    });
    assert.equal(engine.podman(["pause", "web"]).code, 0);
    assert.equal(engine.podman(["unpause", "web"]).code, 0);
    assert.equal(engine.podman(["logs", "web"]).output, "begun");
    assert.equal(engine.podman(["stop", "-t", "5", "web"]).code, 0);
    assert.equal(engine.podman(["wait", "web"]).output, "9");
    assert.equal(engine.podman(["rm", "web"]).code, 0);
  });

  it("joins the namespaces of another container", () => {
    assert.equal(
      engine.podman(["run", "-d", "--name", "first", "--network", "none", image, "sleep", "1000"]).code,
      0,
    );
    const link = (kind: string) => ["readlink", `/proc/self/ns/${kind}`];
    for (const kind of ["net", "ipc"]) {
      const joined = engine.podman([
        "run",
        "--rm",
        kind === "net" ? "--network" : "--ipc",
        "container:first",
        image,
        ...link(kind),
      ]);
      assert.equal(joined.code, 0, joined.output);
      assert.equal(joined.output, engine.podman(["exec", "first", ...link(kind)]).output, kind);
    }
    const seen = engine.podman(run("--pid", "container:first", image, "ps"));
    assert.match(seen.output, /1 root +sleep 1000/);
  });
});

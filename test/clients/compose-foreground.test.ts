/** `docker compose` as somebody watches it: in the foreground, on a terminal, interrupted. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { Terminal } from "#test/fixtures/terminal.ts";
import { ComposeProject } from "./compose-project.ts";
import { dockerCliMissing } from "./docker-cli.ts";

const file = (name: string) => `
name: ${name}
services:
  talker:
    image: berth/busybox:latest
    # Says a last word when it is asked to stop.
    command: [sh, -c, 'trap "echo bye; exit 0" TERM; echo hello; while :; do sleep 0.1; done']
  sleeper:
    image: berth/busybox:latest
    command: [sleep, "1000"]
    init: true
  brief:
    image: berth/busybox:latest
    command: [sh, -c, "echo brief; exit 3"]
    profiles: [brief]
  shell:
    image: berth/busybox:latest
    command: [sh]
    stdin_open: true
    tty: true
    profiles: [shell]
`;

describe("docker compose in the foreground", { skip: dockerCliMissing() }, () => {
  let daemon: TestDaemon;
  let project: ComposeProject;
  before(async () => {
    daemon = await TestDaemon.start({ subnet: 97 });
    daemon.loadBusybox();
    project = new ComposeProject(daemon, "seen");
    project.write("compose.yaml", file(project.name));
  });
  after(async () => {
    await project.run("--profile", "brief", "--profile", "shell", "down", "-v", "-t", "0");
    await daemon.stop();
  });

  /** Starts it and goes on; `told` is what it has printed so far. */
  function begin(...args: string[]): {
    child: ChildProcess;
    told: () => string;
    ended: Promise<number | null>;
  } {
    const child = spawn("docker", ["compose", ...args], {
      cwd: project.directory,
      env: daemon.environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let text = "";
    child.stdout.on("data", (chunk) => (text += chunk));
    child.stderr.on("data", (chunk) => (text += chunk));
    const ended = new Promise<number | null>((done) => child.on("close", done));
    return { child, told: () => text, ended };
  }

  test("up shows what the services say, and an interrupt stops them in order", async () => {
    const up = begin("up", "--no-color");
    await eventually(() => assert.match(up.told(), /talker-1 +\| hello/));
    // Interrupted earlier, it would stop only the one that has started.
    await eventually(async () => assert.equal((await project.ps()).length, 2));
    up.child.kill("SIGINT");
    await up.ended;
    assert.match(up.told(), /Gracefully stopping/);
    // Compose itself shows nothing more of the services once it is interrupted.
    assert.equal(await project.ok("logs", "--no-log-prefix", "talker"), "hello\nbye\n");
    const rows = await project.ps("-a");
    assert.deepEqual(rows.map(({ Service, State }) => `${Service} ${State}`).sort(), [
      "sleeper exited",
      "talker exited",
    ]);
  });

  test("up ends with the container it is told to, and its code", async () => {
    const ran = await project.run(
      "up",
      "--abort-on-container-exit",
      "--exit-code-from",
      "brief",
      "brief",
      "sleeper",
    );
    assert.equal(ran.code, 3, ran.stderr);
    assert.match(ran.stdout, /brief-1 +\| brief/);
    assert.equal((await project.ps("sleeper")).length, 0);
  });

  test("events and wait", async () => {
    await project.ok("up", "-d", "--wait", "sleeper", "talker");
    const waited = project.run("wait", "sleeper");
    const events = begin("events", "--json", "talker");
    try {
      // It subscribes in its own time; what makes events is repeated until one is seen.
      await eventually(async () => {
        await project.ok("pause", "talker");
        await project.ok("unpause", "talker");
        assert.match(events.told(), /"action":"unpause"/);
      });
      assert.equal(JSON.parse(events.told().split("\n")[0] ?? "").service, "talker");
    } finally {
      events.child.kill("SIGKILL");
    }
    await project.ok("kill", "sleeper");
    assert.equal((await waited).code, 137);
  });

  test("exec, run and attach on a terminal", async () => {
    await project.ok("up", "-d", "--wait", "talker", "shell");
    const compose = `DOCKER_CONFIG=${daemon.environment.DOCKER_CONFIG} docker compose -f ${project.directory}/compose.yaml`;
    using terminal = new Terminal(daemon, "compose");
    terminal.type(`${compose} exec talker sh; echo code=$?`, "Enter");
    await terminal.shows(/^\/ #\s*$/m);
    terminal.type("tty; stty size; exit 5", "Enter");
    await terminal.shows(/\/dev\/pts\/\d+\s+24 80/);
    await terminal.shows(/\bcode=5$/m);
    terminal.type(`${compose} run --rm talker sh -c 'read line; echo "got $line"'; echo ran=$?`, "Enter");
    await eventually(() => assert.match(daemon.docker("ps").stdout, /-run-/));
    terminal.type("words", "Enter");
    await terminal.shows(/got words/);
    await terminal.shows(/\bran=0$/m);
    terminal.type(`${compose} attach shell`, "Enter");
    await eventually(() => {
      terminal.type("echo at''tached", "Enter");
      assert.match(terminal.screen, /^attached$/m);
    });
    terminal.type("exit 6", "Enter");
    await eventually(async () => assert.equal((await project.ps("-a", "shell"))[0]?.ExitCode, 6));
  });

  test("up again, detached, starts what has ended", async () => {
    await project.ok("up", "-d", "--wait");
    assert.equal((await project.ps()).length, 2);
    await project.ok("down", "-t", "0", "--timeout", "0");
  });
});

/** A daemon that may open nothing for a while: what ends meanwhile has ended, and is told of. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 97 });
  daemon.loadBusybox();
});
after(() => daemon?.stop());

const limit = (value: string) => execFileSync("prlimit", ["--pid", String(daemon.pid), `--nofile=${value}`]);

test("a container that ends while no file can be opened has its end, and its code, and leaves nothing", async () => {
  // In the host's process namespace it leaves a process behind, which has to be looked for to end it.
  const id = daemon.ok(
    ...["run", "-d", "--name", "ends", "--pid", "host", "berth/busybox", "sh", "-c"],
    "trap 'exit 9' TERM; sleep 1000 & echo up; while :; do usleep 10000; done",
  );
  const pid = Number(daemon.ok("inspect", "-f", "{{.State.Pid}}", "ends"));
  await eventually(() => assert.equal(daemon.ok("logs", "ends"), "up"));
  const end = noDescriptors();
  process.kill(pid, "SIGTERM");
  try {
    await eventually(() => assert.throws(() => readFileSync(`/proc/${pid}/stat`)));
    // Time to meet what is not there, in whatever it does about the end.
    await sleep(1000);
  } finally {
    end();
  }
  assert.equal(daemon.ok("wait", "ends"), "9");
  assert.equal(daemon.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "ends"), "exited 9");
  await eventually(() => assert.deepEqual(groupsOf(id), []));
  daemon.ok("rm", "ends");
});

function groupsOf(id: string): string[] {
  return readdirSync("/sys/fs/cgroup")
    .map((name) => `/sys/fs/cgroup/${name}/berth/${id}`)
    .filter((path) => existsSync(path));
}

test("a network that cannot be joined without descriptors is not one of the container's afterwards", async () => {
  daemon.ok("network", "create", "few");
  daemon.ok("run", "-d", "--name", "stays", "berth/busybox", "sleep", "1000");
  const { agent, ask } = keptConnection();
  try {
    assert.equal(await ask("GET", "/_ping"), 200);
    const end = noDescriptors();
    const connected = ask("POST", "/networks/few/connect", { Container: "stays" });
    const tooEarly = await Promise.race([connected, sleep(1000, 0)]);
    end();
    const status = await connected;
    const networks = JSON.parse(daemon.ok("inspect", "-f", "{{json .NetworkSettings.Networks}}", "stays"));
    const links = daemon
      .ok("exec", "stays", "ls", "/sys/class/net")
      .split("\n")
      .filter((name) => /^eth/.test(name));
    // Whether it waited for descriptors or gave up: what is told is what is there.
    assert.deepEqual(Object.keys(networks).length, links.length, `${tooEarly} ${status}`);
    assert.deepEqual(Object.keys(networks).includes("few"), status === 200);
  } finally {
    agent.destroy();
  }
  daemon.ok("rm", "-f", "stays");
  daemon.ok("network", "rm", "few");
});

test("a launcher that cannot be started for want of descriptors costs a start, and not the daemon", async () => {
  daemon.ok("create", "--name", "again", "berth/busybox", "true");
  const { agent, ask } = keptConnection();
  try {
    assert.equal(await ask("GET", "/_ping"), 200);
    // How many a connection takes before that is nobody's promise: with some number of them it is the launcher's turn.
    for (let left = 0; left < 6; left++) {
      await endLaunchers();
      const end = noDescriptors(left);
      const started = ask("POST", "/containers/again/start");
      // What waits for descriptors goes on with them.
      await Promise.race([started, sleep(1000)]);
      end();
      assert.ok((await started) > 0);
      assert.equal(await ask("GET", "/_ping"), 200);
      daemon.ok("wait", "again");
    }
  } finally {
    agent.destroy();
  }
  daemon.ok("start", "again");
  daemon.ok("wait", "again");
  daemon.ok("rm", "again");
});

async function endLaunchers(): Promise<void> {
  for (const pid of daemon.launchers()) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // The last start's shim, which has ended in between.
    }
  }
  await eventually(() => assert.deepEqual(daemon.launchers(), []));
}

/** A connection of its own, from the first request on: there is no descriptor for one later. */
function keptConnection() {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (method: string, path: string, body?: object) =>
    new Promise<number>((done, failed) => {
      const headers = { "Content-Type": "application/json" };
      const sent = request({ agent, socketPath: daemon.socket, method, path, headers }, (answer) => {
        answer.resume().on("end", () => done(answer.statusCode ?? 0));
      });
      sent.on("error", failed).end(body && JSON.stringify(body));
    });
  return { agent, ask };
}

/** From now on until the answer is called: every number but `left` of them is taken or refused. */
function noDescriptors(left = 0): () => void {
  const open = readdirSync(`/proc/${daemon.pid}/fd`).map(Number);
  const before = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/limits`, "utf8"))?.[1];
  limit(`${free(open, left)}:`);
  return () => limit(`${before}:`);
}

/** The lowest number that is free when `skipped` others are taken. */
function free(taken: readonly number[], skipped: number): number {
  let number = 0;
  for (let passed = 0; taken.includes(number) || passed++ < skipped; ) number++;
  return number;
}

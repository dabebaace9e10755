/**
 * The real docker command line against the API with a fake engine behind it: what it needs of the wire, and
 * nothing of containers.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { eventually, Served } from "#api/testing/served.ts";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

class Docker {
  readonly child;
  readonly outcome: Promise<Outcome>;
  stdout = "";

  constructor(served: Served, argv: string[], environment: Record<string, string> = {}) {
    this.child = spawn("docker", argv, {
      env: {
        PATH: process.env.PATH,
        HOME: served.directory,
        DOCKER_HOST: `unix://${served.socket}`,
        ...environment,
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    // It may be gone before it has read all of its input.
    this.child.stdin.on("error", () => {});
    let stderr = "";
    this.child.stdout.on("data", (chunk) => {
      this.stdout += chunk;
    });
    this.child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    this.outcome = new Promise((resolve) =>
      this.child.on("close", (code) => resolve({ code, stdout: this.stdout, stderr })),
    );
  }
}

async function docker(served: Served, argv: string[], input = ""): Promise<Outcome> {
  const command = new Docker(served, argv);
  command.child.stdin.end(input);
  return await command.outcome;
}

describe("docker command line", { skip: dockerCliMissing() }, () => {
  it("shows versions and facts", async () => {
    await using served = await Served.start();
    const { code, stdout } = await docker(served, ["version"]);
    assert.equal(code, 0);
    assert.match(
      stdout,
      /Server: Berth\n Engine:\n {2}Version: +0\.1\.0\n {2}API version: +1\.51 \(minimum version 1\.24\)/,
    );
    const info = await docker(served, ["info", "--format", "{{.Driver}} {{.ServerVersion}}"]);
    assert.equal(info.stdout, "overlay2 0.1.0\n");
  });

  it("runs: output, input, exit codes, removal", async () => {
    await using served = await Served.start();
    assert.deepEqual(await docker(served, ["run", "--rm", "busybox", "echo", "hello"]), {
      code: 0,
      stdout: "hello\n",
      stderr: "",
    });
    const piped = await docker(served, ["run", "--rm", "-i", "busybox", "cat"], "a\nb\n");
    assert.deepEqual(piped, { code: 0, stdout: "a\nb\n", stderr: "" });
    const much = "0123456789abcde\n".repeat(100_000);
    assert.ok((await docker(served, ["run", "--rm", "-i", "busybox", "cat"], much)).stdout === much);
    assert.equal((await docker(served, ["run", "--rm", "busybox", "exit", "7"])).code, 7);
    const failed = await docker(served, ["run", "busybox", "fail"]);
    assert.equal(failed.code, 127);
    assert.match(
      failed.stderr,
      /^docker: Error response from daemon: exec: "fail": executable file not found in \$PATH/,
    );
    // It waits first and starts then.
    const verbs = served.engine.calls
      .map(([verb]) => verb)
      .filter((verb) => verb === "wait" || verb === "start");
    assert.deepEqual(verbs.slice(0, 2), ["wait", "start"]);
    assert.equal((await docker(served, ["ps", "-aq"])).stdout.trim().split("\n").length, 1);
  });

  it("lists, inspects, renames, stops and removes", async () => {
    await using served = await Served.start();
    const { stdout: id } = await docker(served, ["run", "-d", "--name", "c", "busybox", "sleep"]);
    assert.match(id, /^[0-9a-f]{64}\n$/);
    assert.match((await docker(served, ["ps"])).stdout, /busybox +"sleep" .* c\n$/);
    assert.equal((await docker(served, ["inspect", "--format", "{{.State.Running}}", "c"])).stdout, "true\n");
    assert.equal((await docker(served, ["rename", "c", "d"])).code, 0);
    assert.equal((await docker(served, ["stop", "-t", "1", "d"])).stdout, "d\n");
    assert.equal((await docker(served, ["start", "d"])).stdout, "d\n");
    assert.equal((await docker(served, ["rm", "-f", "d"])).stdout, "d\n");
    await docker(served, ["create", "--name", "e", "busybox"]);
    const twice = await docker(served, ["create", "--name", "e", "busybox"]);
    assert.equal(twice.code, 1);
    assert.equal(
      twice.stderr,
      'Error response from daemon: Conflict. The container name "/e" is already in use\n',
    );
    const none = await docker(served, ["inspect", "missing"]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /No such object: missing\n$/);
  });

  it("executes: output, input, exit codes, detached", async () => {
    await using served = await Served.start();
    await docker(served, ["run", "-d", "--name", "c", "busybox", "sleep"]);
    assert.equal((await docker(served, ["exec", "c", "echo", "hi"])).stdout, "hi\n");
    assert.equal((await docker(served, ["exec", "-i", "c", "cat"], "in\n")).stdout, "in\n");
    assert.equal((await docker(served, ["exec", "c", "exit", "3"])).code, 3);
    const failed = await docker(served, ["exec", "c", "fail"]);
    assert.equal(failed.code, 127);
    assert.match(failed.stdout, /executable file not found in \$PATH/);
    assert.deepEqual(await docker(served, ["exec", "-d", "c", "echo", "x"]), {
      code: 0,
      stdout: "",
      stderr: "",
    });
    assert.match((await docker(served, ["exec", "none", "echo"])).stderr, /No such container: none/);
  });

  it("attaches, follows logs and watches events", async () => {
    await using served = await Served.start();
    const events = new Docker(served, ["events", "--format", "{{.Action}}"]);
    await eventually(() => served.engine.subscribers === 1, "the subscription");
    await docker(served, ["run", "-di", "--name", "c", "busybox", "cat"]);
    const logs = new Docker(served, ["logs", "-f", "c"]);
    const attached = new Docker(served, ["attach", "--sig-proxy=false", "c"]);
    await eventually(
      () => served.engine.called("logs") && served.engine.called("attach"),
      "both to be there",
    );
    attached.child.stdin.write("line\n");
    await eventually(() => logs.stdout === "line\n" && attached.stdout === "line\n", "the line on both");
    attached.child.stdin.end();
    assert.equal((await attached.outcome).code, 0);
    assert.equal((await logs.outcome).stdout, "line\n");
    assert.equal((await docker(served, ["logs", "--tail", "5", "--since", "10m", "c"])).stdout, "line\n");
    assert.equal((await docker(served, ["wait", "c"])).stdout, "0\n");
    await eventually(() => events.stdout === "create\nstart\ndie\n", "the events");
    events.child.kill("SIGINT");
    await events.outcome;
    await eventually(() => served.engine.subscribers === 0, "the end of the subscription");
  });

  it("pulls with progress, and fails before and in the middle", async () => {
    await using served = await Served.start();
    const pulled = await docker(served, ["pull", "localhost:5000/a/b:1"]);
    assert.equal(pulled.code, 0);
    assert.match(pulled.stdout, /0123456789ab: Pull complete\nStatus: Downloaded newer image/);
    assert.ok(served.engine.called("pull", "localhost:5000/a/b", "1"));
    const missing = await docker(served, ["pull", "missing"]);
    assert.equal(missing.code, 1);
    assert.match(
      missing.stderr,
      /^Error response from daemon: manifest for .*missing:latest not found: manifest unknown\n$/,
    );
    const broken = await docker(served, ["pull", "broken"]);
    assert.deepEqual([broken.code, broken.stderr], [1, "unexpected EOF\n"]);
    const run = await docker(served, ["run", "--rm", "missing", "echo"]);
    assert.equal(run.code, 125);
    assert.match(run.stderr, /Unable to find image 'missing:latest' locally/);
  });

  it("loads, imports, lists, tags and removes images", async () => {
    await using served = await Served.start();
    const archive = join(served.directory, "archive.tar");
    writeFileSync(archive, Buffer.alloc(2_000_000));
    assert.equal((await docker(served, ["load", "-i", archive])).stdout, "Loaded image: loaded:2000000\n");
    assert.equal((await docker(served, ["import", archive, "mine:1"])).stdout, `sha256:${"1".repeat(64)}\n`);
    assert.ok(served.engine.called("import", 2_000_000, "mine:1"));
    assert.match((await docker(served, ["images"])).stdout, /busybox +latest +111111111111 .* 4MB/);
    assert.equal((await docker(served, ["tag", "busybox", "c/d:2"])).code, 0);
    assert.deepEqual(served.engine.calls.at(-1), ["tag", "busybox", "docker.io/c/d", "2"]);
    assert.equal(
      (await docker(served, ["rmi", "-f", "localhost:5000/a/b"])).stdout,
      "Untagged: localhost:5000/a/b\n",
    );
  });

  it("lists networks and volumes, and hears what isn't there yet", async () => {
    await using served = await Served.start();
    assert.match((await docker(served, ["network", "ls"])).stdout, /mine +bridge +local\n/);
    assert.match((await docker(served, ["network", "inspect", "none"])).stderr, /network none not found/);
    assert.match((await docker(served, ["volume", "ls"])).stdout, /local +data\n/);
    assert.equal((await docker(served, ["volume", "create", "v"])).stdout, "v\n");
    assert.equal((await docker(served, ["volume", "rm", "v"])).stdout, "v\n");
    const swarm = await docker(served, ["swarm", "init"]);
    assert.equal(
      swarm.stderr,
      "Error response from daemon: POST /swarm/init (SwarmInit) is not implemented in this Berth\n",
    );
    assert.equal((await docker(served, ["plugin", "ls", "-q"])).code, 0);
  });

  it("of an older API version is served too", async () => {
    await using served = await Served.start();
    const argv = ["run", "--rm", "-i", "busybox", "cat"];
    const command = new Docker(served, argv, { DOCKER_API_VERSION: "1.24" });
    command.child.stdin.end("old\n");
    assert.deepEqual(await command.outcome, { code: 0, stdout: "old\n", stderr: "" });
  });
});

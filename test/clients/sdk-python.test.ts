/** Docker's Python library, as Debian packages it, runs its ordinary programs: test/clients/python/examples.py. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

const PYTHON = "/usr/bin/python3";
const EXAMPLES = join(import.meta.dirname, "python/examples.py");
/** How long one example may take, ms; only a hang gets there. */
const PATIENCE_MS = 120_000;

const missing = spawnSync(PYTHON, ["-c", "import docker"]).status !== 0;
const skip = missing && "Debian's python3-docker is not installed";
/** The examples are the functions that have a client and a line of documentation. */
const examples = [...readFileSync(EXAMPLES, "utf8").matchAll(/^def (\w+)\(client\):\n {4}"""(.*)"""$/gm)];

describe("python3-docker", { skip }, () => {
  let daemon: TestDaemon;
  let registry: TestRegistry;
  before(async () => {
    registry = await TestRegistry.start();
    daemon = await TestDaemon.start({ subnet: 92 });
    daemon.loadBusybox();
  });
  afterEach(() => {
    // What an example that failed left behind is not to trouble the next.
    const ids = daemon.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
    if (ids.length > 0) daemon.docker("rm", "-f", "-v", ...ids);
    daemon.docker("network", "prune", "-f");
    daemon.docker("volume", "prune", "-af");
  });
  after(async () => {
    await daemon.stop();
    await registry.stop();
  });

  test("there are examples", () => assert.ok(examples.length > 10));

  for (const [, name = "", title = ""] of examples) {
    test(title, async () => {
      const failure = await example(name);
      assert.ok(failure === "", failure);
    });
  }

  /** Runs it; what it printed (a traceback) if it failed. */
  async function example(name: string): Promise<string> {
    const third = daemon.gateway.split(".")[2];
    const environment = {
      ...daemon.environment,
      IMAGE: "berth/busybox:latest",
      REGISTRY: registry.host,
      PREFIX: `10.214.${third}.`,
    };
    const child = spawn(PYTHON, [EXAMPLES, name], { env: environment, stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    const code = await new Promise((ended) => child.on("close", ended));
    clearTimeout(timer);
    return code === 0 ? "" : `${name} ended with ${code}\n${output}`;
  }
});

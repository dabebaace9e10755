/** The cheapest case of the benchmark, run whole: nothing of its figures but that they are there. Needs root. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Row } from "./rows.ts";

test("one case runs, is reported and written down, and nothing is left of it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bb-"));
  try {
    const file = join(directory, "bench.json");
    const child = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        join(import.meta.dirname, "main.ts"),
        "--without-peers",
        "daemons",
      ],
      {
        env: { ...process.env, TMPDIR: directory, BENCH_FILE: file, BENCH_ONLY: "memory of the idle daemon" },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk));
    const [code] = await once(child, "close");
    assert.equal(code, 0, output);
    assert.match(output, /^memory of the idle daemon \(PSS\) \[1\] +MiB +\d/m);
    assert.match(output, /^ {2}WITHOUT dockerd, which was not asked for$/m);

    const results = JSON.parse(readFileSync(file, "utf8"));
    assert.equal(results.complete, true);
    const rows = results.rows as Row[];
    assert.deepEqual(
      rows.map(({ name }) => name),
      ["memory of the idle daemon (PSS)"],
    );
    assert.ok((rows[0]?.figures.berth?.median ?? 0) > 1, output);
    assert.ok((rows[0]?.figures.floor?.median ?? 0) > 1, output);
    assert.deepEqual(Object.keys(rows[0]?.missing ?? {}).sort(), ["dockerd", "podman"]);

    assert.deepEqual(readdirSync(directory), ["bench.json"]);
    for (const kind of "bf")
      assert.ok(!existsSync(`/sys/class/net/bench${kind}${child.pid}`), `bench${kind}`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { FileService } from "#engine/files/file-service-types.ts";
import { Served } from "./testing/served.ts";

test("a path with NUL is wrong, and one that is too long for the kernel is not there", async () => {
  await using served = await Served.start();
  const asked: string[] = [];
  const stat = async (_: string, path: string) => {
    asked.push(path);
    return { name: "x", size: 0, mode: 0, modifiedAt: 0n, linkTarget: "" };
  };
  Object.assign(served.engine.files, { stat } satisfies Partial<FileService>);
  const longest = `/${"a/".repeat(2047)}`;
  for (const method of ["HEAD", "GET", "PUT"]) {
    const ask = (path: string) => served.ask(method, `/containers/some/archive?path=${path}`);
    assert.equal((await ask("/a%00b")).status, 400, method);
    const missing = await ask(`${longest}a`);
    assert.equal(missing.status, 404, method);
    // It has two bytes.
    assert.equal((await ask(`${longest.slice(0, -1)}%C3%A9`)).status, 404, method);
    if (method !== "HEAD") {
      const message = `Could not find the file ${longest}a in container some`;
      assert.deepEqual(missing.json, { message });
    }
  }
  assert.equal((await served.ask("HEAD", `/containers/some/archive?path=${longest}`)).status, 200);
  assert.deepEqual(asked, [longest]);
});

/** A real daemon answers what docs/api.md says it answers, each field with a value of its type. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { ObservedFile } from "./observe.ts";
import { observeDaemon } from "./observed-requests.ts";
import { observedPath } from "./table.ts";

const otherHost =
  existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes") || "the table is of a host with cgroup version 1";

describe("a daemon used in every way", () => {
  it("answers what it answered when the table was made", {
    skip: otherHost !== true && otherHost,
  }, async () => {
    const observer = await observeDaemon(90);
    assert.deepEqual(observer.observed.departures, []);
    const written = JSON.parse(readFileSync(observedPath, "utf8")) as ObservedFile;
    assert.deepEqual(observer.file(), written, "npm run api-table -- --observe");
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Container } from "#engine/containers/container.ts";
import { containerFilter, untilMilliseconds } from "#engine/containers/container-filters.ts";
import type { ContainerStore } from "#engine/containers/container-store.ts";
import { cpuTime } from "#go-values/testing/cpu-time.ts";

const store = {} as ContainerStore;

function named(patterns: string[], names: string[]): string[] {
  const wanted = containerFilter({ name: patterns }, store);
  return names.filter((name) => wanted({ record: { name } } as Container));
}

test("names match as regular expressions, with and without their slash", () => {
  const names = ["web", "web-1", "db"];
  assert.deepEqual(named(["web"], names), ["web", "web-1"]);
  assert.deepEqual(named(["^web$"], names), ["web"]);
  assert.deepEqual(named(["^/web$", "d."], names), ["web", "db"]);
});

test("what Go takes for no expression matches as it is written", () => {
  assert.deepEqual(named(["(web"], ["web", "x(web"]), ["x(web"]);
  assert.deepEqual(named(["^(?!web)"], ["web", "db"]), []);
});

test("names cost no more where there are very many ways to match", () => {
  assert.ok(cpuTime(() => named(["(.|.|.|.|.|.|.|.)*!"], ["quirky_edison"])) < 5_000);
});

test("a moment is a number of seconds, a time, or a duration ago", (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse("2026-01-02T00:00:00Z") });
  const cases: [string, string][] = [
    ["1767225600", "2026-01-01T00:00:00Z"],
    ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"],
    ["1h30m", "2026-01-01T22:30:00Z"],
    ["1.5s", "2026-01-01T23:59:58.500Z"],
    ["500ms", "2026-01-01T23:59:59.500Z"],
  ];
  for (const [text, time] of cases) assert.equal(untilMilliseconds(text), Date.parse(time), text);
  for (const text of ["1x", "x1h", "soon"]) {
    assert.throws(() => untilMilliseconds(text), { code: "invalid" }, text);
  }
});

test("the cost of a moment grows with its length alone", () => {
  const text = `${"1".repeat(200_000)}x`;
  const time = cpuTime(() => assert.throws(() => untilMilliseconds(text), { code: "invalid" }));
  assert.ok(time < 5_000);
});

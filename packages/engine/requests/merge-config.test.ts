import assert from "node:assert/strict";
import { test } from "node:test";
import { commandOf, mergeConfig } from "#engine/requests/merge-config.ts";

test("the image's command is used when the user gives none", () => {
  const merged = mergeConfig({}, { Entrypoint: ["/entry"], Cmd: ["a"] });
  assert.deepEqual(commandOf(merged), { path: "/entry", args: ["a"] });
});

test("a user's command keeps the image's entrypoint", () => {
  const merged = mergeConfig({ Cmd: ["b"] }, { Entrypoint: ["/entry"], Cmd: ["a"] });
  assert.deepEqual(commandOf(merged), { path: "/entry", args: ["b"] });
});

test("a user's entrypoint drops the image's command", () => {
  const merged = mergeConfig({ Entrypoint: ["/mine"] }, { Entrypoint: ["/entry"], Cmd: ["a"] });
  assert.deepEqual(commandOf(merged), { path: "/mine", args: [] });
});

test('an entrypoint of [""] means none at all', () => {
  const merged = mergeConfig({ Entrypoint: [""], Cmd: ["sh"] }, { Entrypoint: ["/entry"] });
  assert.deepEqual(commandOf(merged), { path: "sh", args: [] });
});

test("nothing to run is refused with Docker's words", () => {
  assert.throws(() => commandOf(mergeConfig({}, {})), /no command specified/);
});

test("the user's variables win and come first", () => {
  const merged = mergeConfig({ Env: ["A=1", "B"] }, { Env: ["A=0", "B=2", "C=3"] });
  assert.deepEqual(merged.Env, ["A=1", "B", "C=3"]);
});

test("labels, ports and volumes are united, the user's label winning", () => {
  const merged = mergeConfig(
    { Labels: { a: "user" }, ExposedPorts: { "1/tcp": {} } },
    { Labels: { a: "image", b: "image" }, ExposedPorts: { "2/udp": {} }, Volumes: { "/data": {} } },
  );
  assert.deepEqual(merged.Labels, { a: "user", b: "image" });
  assert.deepEqual(Object.keys(merged.ExposedPorts ?? {}).sort(), ["1/tcp", "2/udp"]);
  assert.deepEqual(merged.Volumes, { "/data": {} });
});

test("a health check takes from the image what the user left at zero", () => {
  const merged = mergeConfig(
    { Healthcheck: { Test: [], Interval: 5, Retries: 0 } },
    { Healthcheck: { Test: ["CMD", "x"], Interval: 9, Retries: 3 } },
  );
  assert.deepEqual(merged.Healthcheck, { Test: ["CMD", "x"], Interval: 5, Retries: 3 });
});

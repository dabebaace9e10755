import assert from "node:assert/strict";
import { test } from "node:test";
import { hostPlatform, parsePlatform, platformRank, platformText } from "./platform.ts";

test("reads platforms and their other names", () => {
  const cases: [string, string][] = [
    ["linux/amd64", "linux/amd64"],
    ["linux/x86_64", "linux/amd64"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/arm/v6", "linux/arm/v6"],
    ["arm64", "linux/arm64"],
    ["Linux/AMD64", "linux/amd64"],
    ["", platformText(hostPlatform())],
    ["linux", platformText(hostPlatform())],
  ];
  for (const [given, expected] of cases) assert.equal(platformText(parsePlatform(given)), expected, given);
  assert.equal(platformText(hostPlatform("x64")), "linux/amd64");
  for (const bad of ["a/b/c/d", "linux//x", "li nux/amd64"]) {
    assert.throws(() => parsePlatform(bad), { code: "invalid" }, bad);
  }
});

test("which offers fit", () => {
  const rank = (offered: string, wanted: string) =>
    platformRank(parsePlatform(offered), parsePlatform(wanted));
  assert.equal(rank("linux/arm/v7", "linux/arm/v7"), 0);
  assert.equal(rank("linux/arm/v6", "linux/arm/v7"), 1);
  assert.equal(rank("linux/arm/v7", "linux/arm/v6"), undefined);
  assert.equal(rank("linux/arm64/v8", "linux/arm64"), 0);
  assert.equal(rank("linux/amd64/v3", "linux/amd64"), undefined);
  assert.equal(rank("linux/amd64", "linux/amd64/v3"), 2);
  assert.equal(rank("windows/amd64", "linux/amd64"), undefined);
  assert.equal(platformRank(undefined, parsePlatform("linux/amd64")), undefined);
  assert.equal(
    platformRank({ os: "unknown", architecture: "unknown" }, parsePlatform("linux/amd64")),
    undefined,
  );
});

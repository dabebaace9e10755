import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  defaultRegistry,
  eraseCredentials,
  findCredentials,
  registryHeader,
  registryKey,
  storeCredentials,
} from "#cli/credentials.ts";

function directory(t: TestContext): { path: string; env: Record<string, string> } {
  const path = mkdtempSync(join(tmpdir(), "berth-credentials-"));
  t.after(() => rmSync(path, { recursive: true }));
  return { path, env: { DOCKER_CONFIG: path, PATH: `${path}:${process.env.PATH}` } };
}

test("registries go by docker's names", () => {
  for (const hub of ["", "docker.io", "index.docker.io", "https://index.docker.io/v1/"]) {
    assert.equal(registryKey(hub), defaultRegistry);
  }
  assert.equal(registryKey("https://reg.example:5000/v2/"), "reg.example:5000");
});

test("credentials are kept as docker keeps them, and the rest of the file with them", (t) => {
  const { path, env } = directory(t);
  const file = join(path, "config.json");
  writeFileSync(file, JSON.stringify({ detachKeys: "ctrl-x", auths: { other: { auth: "eDp5" } } }));
  assert.equal(storeCredentials("reg:5000", { username: "me", password: "a:b" }, env), file);
  assert.deepEqual(JSON.parse(readFileSync(file, "utf8")), {
    detachKeys: "ctrl-x",
    auths: { other: { auth: "eDp5" }, "reg:5000": { auth: "bWU6YTpi" } },
  });
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const found = { username: "me", password: "a:b", serveraddress: "reg:5000" };
  assert.deepEqual(findCredentials("reg:5000", env), found);
  const header = registryHeader("reg:5000/team/thing", env) ?? "";
  assert.deepEqual(JSON.parse(Buffer.from(header, "base64url").toString()), found);
  assert.equal(registryHeader("elsewhere:5000/thing", env), undefined);
  eraseCredentials("reg:5000", env);
  assert.deepEqual(JSON.parse(readFileSync(file, "utf8")).auths, { other: { auth: "eDp5" } });
});

test("a token in the password's place", (t) => {
  const { env } = directory(t);
  storeCredentials("reg:5000", { username: "me", identitytoken: "t0k" }, env);
  assert.equal(findCredentials("reg:5000", env)?.identitytoken, "t0k");
});

test("a file that cannot be understood is not written over", (t) => {
  const { path, env } = directory(t);
  writeFileSync(join(path, "config.json"), "{ oops");
  assert.equal(findCredentials("reg:5000", env), undefined);
  assert.throws(() => storeCredentials("reg:5000", { username: "me", password: "x" }, env), SyntaxError);
  assert.equal(readFileSync(join(path, "config.json"), "utf8"), "{ oops");
});

test("a helper keeps them in place of the file", (t) => {
  const { path, env } = directory(t);
  const helper = join(path, "docker-credential-box");
  writeFileSync(
    helper,
    `#!/bin/sh
case $1 in
  store) cat >"${path}/kept" ;;
  get) cat >/dev/null; cat "${path}/kept" || { echo "credentials not found"; exit 1; } ;;
  erase) rm "${path}/kept" ;;
esac
`,
  );
  chmodSync(helper, 0o755);
  const file = join(path, "config.json");
  writeFileSync(file, JSON.stringify({ credHelpers: { "reg:5000": "box" } }));
  assert.equal(findCredentials("reg:5000", env), undefined);
  assert.equal(storeCredentials("reg:5000", { username: "me", password: "pw" }, env), undefined);
  assert.deepEqual(JSON.parse(readFileSync(file, "utf8")).auths, { "reg:5000": {} });
  assert.deepEqual(findCredentials("reg:5000", env), {
    username: "me",
    password: "pw",
    serveraddress: "reg:5000",
  });
  storeCredentials("reg:5000", { username: "me", identitytoken: "t0k" }, env);
  assert.equal(findCredentials("reg:5000", env)?.identitytoken, "t0k");
  eraseCredentials("reg:5000", env);
  assert.equal(findCredentials("reg:5000", env), undefined);
});

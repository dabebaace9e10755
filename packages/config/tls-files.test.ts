import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readTlsFiles } from "#config/tls-files.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-tls-"));
after(() => rmSync(directory, { recursive: true }));
const file = (name: string) => {
  writeFileSync(join(directory, name), `content of ${name}`);
  return join(directory, name);
};
const none = { tls: false, tlsVerify: false, tlsCaCert: "", tlsCert: "", tlsKey: "" };

test("certificates are what the files hold, not their names", () => {
  assert.equal(readTlsFiles(none), undefined);
  const both = { tlsCert: file("cert"), tlsKey: file("key") };
  assert.deepEqual(readTlsFiles({ ...none, ...both, tls: true }), {
    cert: "content of cert",
    key: "content of key",
    verify: false,
  });
  const all = { ...none, ...both, tlsVerify: true, tlsCaCert: file("ca") };
  assert.deepEqual(readTlsFiles(all)?.ca, "content of ca");
  assert.equal(readTlsFiles(all)?.verify, true);
});

test("a file that is not named or not there is told by its flag", () => {
  const both = { tlsCert: file("cert"), tlsKey: file("key") };
  assert.throws(() => readTlsFiles({ ...none, tls: true }), /cannot use TLS: --tlscert is missing/);
  assert.throws(() => readTlsFiles({ ...none, ...both, tlsVerify: true }), /--tlscacert is missing/);
  assert.throws(
    () => readTlsFiles({ ...none, ...both, tls: true, tlsKey: "/nowhere" }),
    /cannot use TLS: --tlskey: ENOENT.*\/nowhere/,
  );
});

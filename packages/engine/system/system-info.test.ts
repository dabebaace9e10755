import assert from "node:assert/strict";
import { test } from "node:test";
import { openApiWarnings } from "#engine/system/system-info.ts";

const tcp = ["unix:///run/berth/berth.sock", "tcp://127.0.0.1:2375", "tcp://0.0.0.0:2376"];

test("docker info warns of every port that lets in whoever reaches it, in dockerd's first words", () => {
  const none = { tls: false, tlsVerify: false };
  assert.deepEqual(openApiWarnings({ ...none, hosts: tcp.slice(0, 1) }), []);
  const open = openApiWarnings({ ...none, hosts: tcp });
  assert.deepEqual(
    open.map((text) => text.split("\n")[0]),
    [
      "[DEPRECATION NOTICE]: API is accessible on http://127.0.0.1:2375 without encryption.",
      "[DEPRECATION NOTICE]: API is accessible on http://0.0.0.0:2376 without encryption.",
    ],
  );
  const [unverified = ""] = openApiWarnings({ tls: true, tlsVerify: false, hosts: tcp });
  assert.match(unverified, /accessible on https:\/\/127\.0\.0\.1:2375 without TLS client verification\.\n/);
  assert.deepEqual(openApiWarnings({ tls: true, tlsVerify: true, hosts: tcp }), []);
});

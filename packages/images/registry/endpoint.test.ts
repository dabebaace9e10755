import assert from "node:assert/strict";
import { test } from "node:test";
import { endpointsFor, isInsecure } from "./endpoint.ts";

const none = { insecureRegistries: [], registryMirrors: [] };

test("only loopback and what is listed may go without TLS", async () => {
  for (const domain of ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"]) {
    assert.equal(await isInsecure(domain, []), true, domain);
  }
  for (const domain of ["registry.example", "10.0.0.1:5000", "[::2]:5000", "localhost.example:80"]) {
    assert.equal(await isInsecure(domain, []), false, domain);
  }
  assert.equal(await isInsecure("registry.example:5000", ["registry.example:5000"]), true);
  assert.equal(await isInsecure("registry.example:5001", ["registry.example:5000"]), false);
  assert.equal(await isInsecure("10.1.2.3:5000", ["10.0.0.0/8"]), true);
  assert.equal(await isInsecure("11.1.2.3:5000", ["10.0.0.0/8"]), false);
  assert.equal(await isInsecure("[fd00::1]:5000", ["fd00::/8"]), true);
});

test("which addresses are tried", async () => {
  const found = await endpointsFor("ghcr.io", none);
  assert.deepEqual(
    found.map(({ base, transport, mirror }) => [base, transport.insecure, mirror]),
    [["https://ghcr.io", false, false]],
  );
  assert.deepEqual(
    (await endpointsFor("localhost:5000", none)).map(({ base }) => base),
    ["https://localhost:5000", "http://localhost:5000"],
  );
  const mirrored = { ...none, registryMirrors: ["https://mirror.example/"] };
  assert.deepEqual(
    (await endpointsFor("docker.io", mirrored)).map(({ base, mirror }) => [base, mirror]),
    [
      ["https://mirror.example", true],
      ["https://registry-1.docker.io", false],
    ],
  );
  assert.equal((await endpointsFor("ghcr.io", mirrored)).length, 1);
});

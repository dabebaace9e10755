import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "#config/load-config.ts";
import { reloadConfig } from "#config/reload-config.ts";

function load(file: object) {
  const loaded = loadConfig(["--config-file", "/x"], () => JSON.stringify(file));
  assert.ok("config" in loaded);
  return loaded.config;
}

test("what may change does so in place; the rest waits", () => {
  const current = load({ labels: ["a=1"], debug: false, mtu: 1500, "registry-mirrors": ["https://m"] });
  const { labels, registryMirrors } = current;
  const next = load({ labels: ["b=2", "c=3"], debug: true, mtu: 1400, "registry-mirrors": ["https://m"] });
  assert.deepEqual(reloadConfig(current, next), { changed: ["debug", "labels"], waiting: ["mtu"] });
  assert.equal(current.debug, true);
  assert.equal(current.mtu, 1500);
  // Whoever holds the list sees what it is now.
  assert.equal(current.labels, labels);
  assert.deepEqual(labels, ["b=2", "c=3"]);
  assert.equal(current.registryMirrors, registryMirrors);
});

test("the same again changes nothing", () => {
  const file = { labels: ["a=1"], "default-ulimits": { nofile: { Name: "nofile", Soft: 1, Hard: 2 } } };
  assert.deepEqual(reloadConfig(load(file), load(file)), { changed: [], waiting: [] });
});

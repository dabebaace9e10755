import assert from "node:assert/strict";
import { test } from "node:test";
import { containerResources } from "#engine/launch/container-resources.ts";
import { shownConfig, shownHostConfig } from "#engine/requests/shown-config.ts";

test("a container of which nothing was said shows every field, one of which something was said that too", () => {
  const shown = shownHostConfig({ Memory: 5, Binds: ["a:/b"], Annotations: { a: "b" } });
  assert.deepEqual([shown.Memory, shown.Binds, shown.Annotations], [5, ["a:/b"], { a: "b" }]);
  assert.deepEqual(
    [shown.CapAdd, shown.ConsoleSize, shown.Isolation, shown.OomKillDisable],
    [null, [0, 0], "", false],
  );
  // Shown only where they are set.
  for (const name of ["Annotations", "Mounts", "Tmpfs", "Sysctls", "StorageOpt", "Init", "KernelMemoryTCP"])
    assert.equal(name in shownHostConfig({}), false, name);
  assert.deepEqual(shownConfig({ Cmd: ["a"], Tty: true }).Cmd, ["a"]);
  assert.equal(shownConfig({}).AttachStdout, false);
  assert.equal("Healthcheck" in shownConfig({}), false);
});

test("the limit of TCP's memory is the kernel's", () => {
  const resources = containerResources({ KernelMemoryTCP: 1 << 20 }, () => ({ major: 0, minor: 0 }));
  assert.deepEqual(resources, { memory: { kernelTCP: 1 << 20 } });
});

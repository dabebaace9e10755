/**
 * Version 2 for real, on any host that has such a hierarchy at all: beside version 1 it has no controllers, but groups,
 * births into them, freezing and the device filter work as anywhere.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { freeze, thaw } from "#runtime/cgroups/freezer.ts";
import { containerProcesses } from "#runtime/cgroups/processes.ts";
import { Containers } from "#runtime/container.test-tool.ts";
import { defaultSpec } from "#runtime/default-spec.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const containers = new Containers();
const { v2, v2Controllers } = containers.cgroups;
const layout: CgroupLayout = { version: 2, v1: {}, v2Controllers, ...(v2 !== undefined && { v2 }) };
before(() => {
  containers.cgroups = layout;
});
after(async () => {
  await containers[Symbol.asyncDispose]();
});

describe("a container on version 2", { skip: v2 === undefined && "no version 2 hierarchy" }, () => {
  it("is born into its group and sees it as the root of a namespace of its own", async () => {
    await using container = await containers.start({
      args: [
        "sh",
        "-c",
        "cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs; touch /sys/fs/cgroup/x 2>&1; sleep 1000",
      ],
      spec: ({ linux }) => {
        linux.namespaces?.push({ type: "cgroup" });
      },
    });
    assert.ok(containerProcesses(layout, container.id).includes(container.pid));
    const pattern = new RegExp(`^0::/berth/${container.id}$`, "m");
    assert.match(readFileSync(`/proc/${container.pid}/cgroup`, "utf8"), pattern);
    await eventually(() => assert.match(container.output(), /Read-only file system/));
    assert.match(container.output(), /^0::\/$/m);
    const exec = await containers.exec(container, { args: ["sh", "-c", "grep -q ^0::/$ /proc/self/cgroup"] });
    assert.equal(exec.exitCode, 0);
    await freeze(layout, container.id);
    await thaw(layout, container.id);
    await container[Symbol.asyncDispose]();
    assert.ok(!existsSync(`${v2}/berth/${container.id}`));
  });

  it("is kept from devices by a filter the kernel takes", async () => {
    const script =
      "mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg 2>&1; echo x > /dev/null && head -c 1 /dev/urandom | wc -c";
    const { output } = await containers.run({ args: ["sh", "-c", script] });
    assert.match(output, /kmsg.*not permitted/i);
    assert.match(output, /^1$/m);
  });

  it("may use them all when privileged", async () => {
    const { architecture, kernelRelease } = containers.host;
    const output = await containers
      .shell("mknod /tmp/full c 1 7; (echo x > /tmp/full) 2>&1", {
        spec: (spec) => {
          spec.linux.resources =
            defaultSpec({ architecture, kernelRelease, privileged: true }).linux.resources ?? {};
        },
      })
      .catch((error: Error) => error.message);
    assert.match(output, /No space left/);
  });
});

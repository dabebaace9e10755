/** Mounts out of another container's mount namespace: what it has mounted there, and nothing of the host's. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Containers, type RunOptions } from "#runtime/container.test-tool.ts";
import { eventually } from "#test/fixtures/eventually.ts";

let containers: Containers;
before(() => {
  containers = new Containers();
});
after(() => containers[Symbol.asyncDispose]());

/** Mounts `part` of the process' root on /other. */
const with_ =
  (pid: number, part: string): NonNullable<RunOptions["spec"]> =>
  (spec) => {
    const mountNamespace = `/proc/${pid}/ns/mnt`;
    spec.mounts.push({
      destination: "/other",
      type: "bind",
      source: "/",
      subpath: part,
      mountNamespace,
      options: ["rbind"],
    });
  };

describe("a mount of another container's", () => {
  it("is the same one, and the container's own mounts stay apart", async () => {
    await using first = await containers.start({
      args: [
        "sh",
        "-c",
        "echo inside >/dev/shm/file; ln -s /../../../../bin /up; ln -s /proc/1/root /magic; exec sleep 1000",
      ],
    });
    const shell = (script: string, part: string) =>
      containers.shell(script, { spec: with_(first.pid, part) });
    await eventually(async () => {
      assert.equal(await shell("cat /other/file; ls /dev/shm | wc -l", "dev/shm"), "inside\n0\n");
    });
    await shell("echo back >/other/answer", "dev/shm");
    assert.equal(await shell("cat /other/answer", "dev/shm"), "back\n");
    // The links of the other one lead nowhere but to its own files.
    assert.match(await shell("ls -l /other/busybox", "up"), /busybox/);
    await assert.rejects(shell("ls /other", "magic"), /magic/);
  });

  it("is refused of a process that is gone", async () => {
    let pid: number;
    {
      await using gone = await containers.start({ args: ["sleep", "1000"] });
      pid = gone.pid;
    }
    await assert.rejects(containers.shell("true", { spec: with_(pid, "dev/shm") }), /mnt/);
  });
});

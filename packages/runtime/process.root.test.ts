/** Fields of `process` and their neighbours, as a container's process finds them. Needs root and busybox-static. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Containers, type FullSpec } from "#runtime/container.test-tool.ts";
import type { SpecProcess, SpecScheduler } from "#runtime/spec-types.ts";

let containers: Containers;
before(() => {
  containers = new Containers();
});
after(() => containers[Symbol.asyncDispose]());

const inside = (script: string, spec?: (spec: FullSpec) => void) => containers.shell(script, { spec });

describe("a process' scheduling", () => {
  const under = async (scheduler: SpecScheduler, script = "cat /proc/$$/stat") => {
    const text = await inside(script, (spec) => {
      spec.process.scheduler = scheduler;
    });
    return text
      .trim()
      .split("\n")
      .map((line) => {
        const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
        return { nice: Number(fields[16]), realTime: Number(fields[37]), policy: Number(fields[38]) };
      });
  };

  it("has the policy and the niceness of its configuration", async () => {
    assert.deepEqual(await under({ policy: "SCHED_OTHER", nice: 5 }), [{ nice: 5, realTime: 0, policy: 0 }]);
    assert.deepEqual(await under({ policy: "SCHED_BATCH", nice: -3 }), [
      { nice: -3, realTime: 0, policy: 3 },
    ]);
    assert.deepEqual(await under({ policy: "SCHED_IDLE" }), [{ nice: 0, realTime: 0, policy: 5 }]);
  });

  it("resets on fork if told so", async () => {
    const flags = ["SCHED_FLAG_RESET_ON_FORK"];
    const script = "cat /proc/$$/stat; sh -c 'cat /proc/$$/stat; true'; true";
    const [own, child] = await under({ policy: "SCHED_OTHER", nice: -5, flags }, script);
    assert.equal(own?.nice, -5);
    assert.equal(child?.nice, 0);
  });

  it("is the kernel's to refuse, by the name of the field", async () => {
    const scheduler = { policy: "SCHED_ISO" };
    const start = containers.start({
      spec: (spec) => {
        spec.process.scheduler = scheduler;
      },
    });
    await assert.rejects(start, /set process\.scheduler to SCHED_ISO: EINVAL/);
  });

  it("has an io priority", async () => {
    const text = await inside("busybox ionice -p $$", (spec) => {
      spec.process.ioPriority = { class: "IOPRIO_CLASS_BE", priority: 6 };
    });
    assert.equal(text, "best-effort: prio 6\n");
    const idle = await inside("busybox ionice -p $$", (spec) => {
      spec.process.ioPriority = { class: "IOPRIO_CLASS_IDLE" };
    });
    assert.match(idle, /^idle/);
  });

  it("of an exec: its own, and its CPUs", async () => {
    const running = await containers.start({ args: ["sleep", "1000"] });
    const last = availableParallelism() - 1;
    const found = async (change: Partial<SpecProcess>) => {
      const args = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status > /out; cat /proc/$$/stat >> /out"];
      assert.equal((await containers.exec(running, { args, ...change })).exitCode, 0);
      return readFileSync(join(containers.directory, running.id, "upper/out"), "utf8");
    };
    assert.match(
      await found({ execCPUAffinity: { initial: "0", final: String(last) } }),
      new RegExp(`:\t${last}\n`),
    );
    assert.match(await found({ execCPUAffinity: { initial: String(last) } }), /Cpus_allowed_list/);
    const idle = await found({ scheduler: { policy: "SCHED_IDLE" }, execCPUAffinity: { final: "0" } });
    assert.match(idle, /Cpus_allowed_list:\t0\n[^)]*\)( \S+){38} 5 /);
    await assert.rejects(
      containers.exec(running, { execCPUAffinity: { final: "8000" } }),
      /execCPUAffinity\.final/,
    );
    await running[Symbol.asyncDispose]();
  });
});

describe("a process", () => {
  it("may be shown a 32-bit machine", { skip: process.arch !== "x64" }, async () => {
    const personality = { domain: "LINUX32" };
    assert.equal(
      await inside("busybox uname -m", (spec) => {
        spec.linux.personality = personality;
      }),
      "i686\n",
    );
    const running = await containers.start({
      args: ["sleep", "1000"],
      spec: (spec) => {
        spec.linux.personality = personality;
      },
    });
    const args = ["sh", "-c", "busybox uname -m > /out"];
    assert.equal((await containers.exec(running, { args })).exitCode, 0);
    assert.equal(readFileSync(join(containers.directory, running.id, "upper/out"), "utf8"), "i686\n");
    await running[Symbol.asyncDispose]();
  });

  it("has limits up to none at all", async () => {
    const text = await inside("grep -E 'core file|open files|locked' /proc/self/limits", (spec) => {
      spec.process.rlimits = [
        { type: "RLIMIT_CORE", soft: 2 ** 64, hard: 2 ** 64 },
        { type: "RLIMIT_NOFILE", soft: 100, hard: 200 },
        { type: "RLIMIT_MEMLOCK", soft: 0, hard: 65536 },
      ];
    });
    assert.match(text, /core file size +unlimited +unlimited/);
    assert.match(text, /open files +100 +200/);
    assert.match(text, /locked memory +0 +65536/);
  });

  it("has the last of several values of a variable", async () => {
    const text = await inside("env", (spec) => {
      spec.process.env = ["A=1", "PATH=/nowhere", "A=2", "PATH=/bin"];
    });
    assert.match(text, /^A=2$/m);
    assert.doesNotMatch(text, /A=1|nowhere/);
  });

  it("may be any user but the one that is none", async () => {
    const user = {
      uid: 0xffff_fffe,
      gid: 0xffff_fffe,
      additionalGids: [3_000_000_000],
      username: "nobody's",
    };
    assert.equal(
      await inside("id", (spec) => {
        spec.process.user = user;
      }),
      "uid=4294967294 gid=4294967294 groups=3000000000\n",
    );
    const nobody = { uid: 0xffff_ffff, gid: 0 };
    await assert.rejects(
      inside("id", (spec) => {
        spec.process.user = nobody;
      }),
      /process\.user\.uid/,
    );
  });

  it("has time offsets", async () => {
    const text = await inside("cat /proc/self/timens_offsets /proc/uptime", (spec) => {
      spec.linux.namespaces?.push({ type: "time" });
      spec.linux.timeOffsets = { monotonic: { secs: 7200, nanosecs: 5 }, boottime: { secs: 360_000_000 } };
    });
    assert.match(text, /monotonic +7200 +5\nboottime +360000000 +0\n36\d{7}/);
  });
});

describe("labels", () => {
  it("are refused on a kernel that knows none", async () => {
    const refused = (change: (spec: FullSpec) => void, message: RegExp) =>
      assert.rejects(inside("true", change), message);
    if (!containers.host.apparmor)
      await refused((spec) => {
        spec.process.apparmorProfile = "x";
      }, /process\.apparmorProfile: unable to apply/);
    if (containers.host.selinux) return;
    await refused((spec) => {
      spec.process.selinuxLabel = "a:b:c";
    }, /process\.selinuxLabel: selinux label/);
    await refused((spec) => {
      spec.linux.mountLabel = "a:b:c";
    }, /linux\.mountLabel: selinux label/);
  });
});

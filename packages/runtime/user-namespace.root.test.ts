import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { Containers, type FullSpec, type RunOptions } from "#runtime/container.test-tool.ts";
import { explainRuntimeFailure } from "#runtime/explain.ts";
import type { ContainerLaunch } from "#runtime/launch-types.ts";
import type { NamespaceType } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const BASE = 200_000;
const USERS = 400_000;
const MAPPINGS = [
  { containerID: 0, hostID: BASE, size: 1000 },
  { containerID: 1000, hostID: USERS, size: 10 },
];

/** Gives a tree to another owner: how a root file system is prepared for a user namespace. */
function giveTree(path: string, owner: number): void {
  lchownSync(path, owner, owner);
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) giveTree(inner, owner);
    else lchownSync(inner, owner, owner);
  }
}

let containers: Containers;
before(() => {
  containers = new Containers();
  giveTree(containers.makeRootfs("mapped"), BASE);
});
after(() => containers[Symbol.asyncDispose]());

type Change = (spec: FullSpec, launch: ContainerLaunch) => void;

/** In a user namespace, on an overlay whose upper directory belongs to the namespace's root. */
function mapped(change: Change = () => undefined, path?: string): Pick<RunOptions, "launch"> {
  return {
    launch: (launch) => {
      const spec = launch.spec as FullSpec;
      spec.linux.namespaces?.push({ type: "user", ...(path !== undefined && { path }) });
      if (path === undefined) Object.assign(spec.linux, { uidMappings: MAPPINGS, gidMappings: MAPPINGS });
      // Its range of groups would have to be mapped as a whole.
      delete spec.linux.sysctl;
      if (launch.rootfs.kind === "overlay") {
        launch.rootfs.lower = ["mapped"];
        chownSync(join(containers.directory, launch.rootfs.upper), BASE, BASE);
      }
      change(spec, launch);
    },
  };
}

const sleeper = (options: Pick<RunOptions, "launch">) =>
  containers.start({ ...options, args: ["sleep", "1000"] });
const link = (pid: number, name: string) => readlinkSync(`/proc/${pid}/ns/${name}`);
const lines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => line.trim().replace(/\s+/g, " "));

/** The hard limit of locked memory; NaN without one. */
function lockable(): number {
  return Number(/^Max locked memory\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
}

const CAP_SYS_RESOURCE = 1n << 24n;

/** Why not; false if there is no reason. */
function whyNotRaise(): string | false {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  if ((BigInt(`0x${mask}`) & CAP_SYS_RESOURCE) === 0n) return "root has no CAP_SYS_RESOURCE here";
  return Number.isNaN(lockable()) && "there is no limit to be raised";
}

/** What a start that fails says. */
async function failure(options: RunOptions): Promise<string> {
  try {
    await containers.run({ args: ["true"], ...options });
  } catch (error) {
    const { compiled } = error as { compiled?: Parameters<typeof explainRuntimeFailure>[0] };
    const told = compiled ? explainRuntimeFailure(compiled, error, "true") : error;
    return (told as Error).message;
  }
  return "it has started";
}

describe("a container in a user namespace of its own", () => {
  it("has the mappings that it is said to have, and root's rights inside only", async () => {
    const output = await containers.shell(
      "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id -u; id -g; id -G; touch /made; stat -c '%u %g' /made",
      mapped(),
    );
    const map = [`0 ${BASE} 1000`, `1000 ${USERS} 10`];
    assert.deepEqual(lines(output), [...map, ...map, "allow", "0", "0", "0", "0 0"]);
  });

  it("belongs to the host's ids, in namespaces that are its own, in its control groups", async () => {
    const own: Change = (spec) => spec.linux.namespaces?.push({ type: "cgroup" });
    await using running = await sleeper(mapped(own));
    const status = readFileSync(`/proc/${running.pid}/status`, "utf8");
    assert.match(status, new RegExp(`^Uid:\\s+${BASE}\\s+${BASE}\\s`, "m"));
    for (const name of ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"]) {
      assert.notEqual(link(running.pid, name), readlinkSync(`/proc/self/ns/${name}`), name);
    }
    assert.match(
      readFileSync(`/proc/${running.pid}/cgroup`, "utf8"),
      new RegExp(`(pids|^0:):/berth/${running.id}$`, "m"),
    );
    // The shim has one child and no more: who led the way is gone.
    const shim = /^PPid:\s+(\d+)$/m.exec(status)?.[1];
    assert.equal(readFileSync(`/proc/${shim}/task/${shim}/children`, "utf8").trim(), String(running.pid));
  });

  it("may do in its namespaces what its capabilities say", async () => {
    const admin: Change = (spec) => {
      for (const set of ["bounding", "effective", "permitted"] as const)
        spec.process.capabilities?.[set]?.push("CAP_SYS_ADMIN");
      delete spec.linux.seccomp;
    };
    const output = await containers.shell(
      "mount -t tmpfs x /tmp && echo mounted; hostname inside && hostname; ip link set lo down && echo down; mknod /x c 1 3 2>/dev/null || echo no device",
      mapped((spec, launch) => {
        admin(spec, launch);
        for (const set of ["bounding", "effective", "permitted"] as const)
          spec.process.capabilities?.[set]?.push("CAP_NET_ADMIN");
      }),
    );
    assert.deepEqual(lines(output), ["mounted", "inside", "down", "no device"]);
  });

  it("has the host's devices, which work, and the file systems of others", async () => {
    const output = await containers.shell(
      "echo x > /dev/null && head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; mount | grep -c ' on /sys type sysfs'; mount | grep -c ' on /proc type proc'; mount | grep -c ' on /dev/mqueue type mqueue'; cat /proc/keys | wc -c; ls /proc/acpi 2>/dev/null | wc -l; touch /proc/sys/kernel/hostname 2>/dev/null || echo ro; cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs 2>/dev/null || true",
      mapped(),
    );
    assert.deepEqual(lines(output).slice(0, 8), ["3", "4", "1", "1", "1", "0", "0", "ro"]);
    assert.ok(lines(output).includes("1"), "its own process in its own group");
  });

  it("shows the host's sysfs where the network is the host's", async () => {
    const options = mapped((spec) => {
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "network") ?? [];
      delete spec.hostname;
    });
    // Links of others come and go between the two looks.
    await eventually(async () => {
      const output = await containers.shell(
        "ls /sys/class/net; touch /sys/x 2>/dev/null || echo ro",
        options,
      );
      assert.deepEqual(lines(output), [...readdirSync("/sys/class/net").sort(), "ro"]);
    });
  });

  it("gives its streams to its user", async () => {
    const output = await containers.shell(
      "id -u; echo again > /dev/stdout; echo too > /dev/stderr",
      mapped((spec) => {
        spec.process.user = { uid: 1000, gid: 1000, additionalGids: [1001] };
      }),
    );
    assert.deepEqual(lines(output), ["1000", "again", "too"]);
    const root = await containers.shell("echo again > /dev/stdout", mapped());
    assert.equal(root, "again\n");
  });

  it("has a terminal", async () => {
    const run = mapped((spec, launch) => {
      spec.process.terminal = true;
      launch.stdio.terminal = true;
    });
    const output = await containers.shell(
      "tty; stat -c %u /dev/pts/0; test -c /dev/console && echo console",
      run,
    );
    assert.deepEqual(lines(output), ["/dev/pts/0", "0", "console"]);
  });

  it("has limits below the host's, and its place in an emergency", async () => {
    const output = await containers.shell(
      "grep 'open files' /proc/self/limits; cat /proc/self/oom_score_adj",
      mapped((spec) => {
        spec.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 20, hard: 30 }];
        spec.process.oomScoreAdj = 300;
      }),
    );
    assert.deepEqual(lines(output), ["Max open files 20 30 files", "300"]);
  });

  it("has what only the host's root may give", { skip: whyNotRaise() }, async () => {
    const more = lockable() * 2;
    const change: Change = (spec) => {
      spec.process.rlimits = [{ type: "RLIMIT_MEMLOCK", soft: more, hard: more }];
      spec.process.oomScoreAdj = -300;
    };
    const script = "grep 'locked memory' /proc/self/limits; cat /proc/self/oom_score_adj";
    const expected = [`Max locked memory ${more} ${more} bytes`, "-300"];
    assert.deepEqual(lines(await containers.shell(script, mapped(change))), expected);
    await using running = await sleeper(mapped());
    const { process } = { process: { ...running.launch.spec.process } } as FullSpec;
    change({ process } as FullSpec, running.launch);
    await containers.exec(running, { ...process, args: ["sh", "-c", `(${script}) > /out`] });
    const out = join(containers.directory, running.id, "upper/out");
    assert.deepEqual(lines(readFileSync(out, "utf8")), expected);
  });

  it("has bind mounts of what only root can reach", async () => {
    const secret = join(containers.directory, "secret");
    mkdirSync(join(secret, "data"), { recursive: true });
    writeFileSync(join(secret, "data/file"), "reached");
    chmodSync(secret, 0o700);
    const output = await containers.shell(
      "cat /data/file; touch /data/x 2>/dev/null || echo ' ro'",
      mapped((spec) => {
        spec.mounts.push({
          destination: "/data",
          type: "bind",
          source: join(secret, "data"),
          options: ["rbind", "ro"],
        });
      }),
    );
    assert.equal(output, "reached ro\n");
  });

  it("runs from a plain directory, be the way to it closed, with and without pivot_root", async () => {
    const closed = join(containers.directory, "closed");
    mkdirSync(closed, { mode: 0o700 });
    const path = containers.makeRootfs("closed/rootfs");
    giveTree(path, BASE);
    for (const noPivot of [false, true]) {
      const output = await containers.shell(
        "ls / | grep -c ^bin; touch /x 2>/dev/null || echo ro; cd ..; pwd; ls /../ | grep -c ^bin",
        mapped((spec, launch) => {
          launch.rootfs = { kind: "directory", path };
          launch.noPivot = noPivot;
          spec.root = { path, readonly: true };
        }),
      );
      assert.deepEqual(lines(output), ["1", "ro", "/", "1"], `noPivot: ${noPivot}`);
    }
  });

  it("takes over a network that was there before", async () => {
    await using first = await sleeper({});
    const join_: Change = (spec) => {
      const namespace = spec.linux.namespaces?.find(({ type }) => type === "network");
      Object.assign(namespace as object, { path: `/proc/${first.pid}/ns/net` });
    };
    await using second = await sleeper(mapped(join_));
    assert.equal(link(second.pid, "net"), link(first.pid, "net"));
    assert.notEqual(link(second.pid, "user"), link(first.pid, "user"));
  });

  it("is entered by exec, as its root and as another of its users", async () => {
    await using running = await sleeper(mapped());
    const upper = join(containers.directory, running.id, "upper");
    const script = (text: string) => ({ args: ["sh", "-c", text] });
    await containers.exec(
      running,
      script("id -u > /out; cat /proc/self/uid_map >> /out; grep CapEff /proc/self/status >> /out"),
    );
    const mine = readFileSync(`/proc/${running.pid}/status`, "utf8");
    assert.deepEqual(lines(readFileSync(join(upper, "out"), "utf8")), [
      "0",
      `0 ${BASE} 1000`,
      `1000 ${USERS} 10`,
      /^CapEff:.*$/m.exec(mine)?.[0].replace(/\s+/g, " "),
    ]);
    const user = { uid: 1003, gid: 1003 };
    await containers.exec(running, { ...script("echo $(id -u) > /tmp/mine"), user });
    assert.equal(readFileSync(join(upper, "tmp/mine"), "utf8"), "1003\n");
    assert.equal(statSync(join(upper, "tmp/mine")).uid, USERS + 3);
    await assert.rejects(
      containers.exec(running, { ...script("true"), user: { uid: 5000, gid: 0 } }),
      /process\.user\.uid: 5000 is not mapped/,
    );
  });

  it("fails in its own words, and leaves nothing", async () => {
    assert.match(await failure({ ...mapped(), args: ["nosuch"] }), /executable file not found in \$PATH/);
    const device: Change = (spec) => {
      spec.linux.devices = [{ type: "c", path: "/dev/nosuch", major: 1, minor: 3 }];
    };
    assert.match(await failure(mapped(device)), /bind mount the host's device \/dev\/nosuch: no such file/);
    const other: Change = (spec) => {
      spec.linux.devices = [{ type: "c", path: "/dev/zero", major: 1, minor: 3 }];
    };
    assert.match(await failure(mapped(other)), /linux\.devices: \/dev\/zero exists and is something else/);
    const owner: Change = (spec) => {
      spec.mounts.push({ destination: "/m", type: "tmpfs", source: "x", options: ["uid=70000"] });
    };
    assert.match(await failure(mapped(owner)), /option uid=70000: invalid argument/i);
    await eventually(() => {
      const groups = readdirSync(
        join(cgroupDirectories(containers.cgroups, "x")[0]?.path ?? "", ".."),
      ).filter((name) => name.startsWith(`test${process.pid}x`));
      assert.deepEqual(groups, []);
    });
  });
});

describe("a container in a user namespace that was there before", () => {
  it("has the mappings of that, and its own others", async () => {
    await using first = await sleeper(mapped());
    await using second = await sleeper(mapped(undefined, `/proc/${first.pid}/ns/user`));
    assert.equal(link(second.pid, "user"), link(first.pid, "user"));
    for (const name of ["pid", "mnt", "net"])
      assert.notEqual(link(second.pid, name), link(first.pid, name), name);
    assert.match(readFileSync(`/proc/${second.pid}/status`, "utf8"), new RegExp(`^Uid:\\s+${BASE}\\s`, "m"));
    await containers.exec(second, { args: ["sh", "-c", "id -u > /out"] });
    assert.equal(readFileSync(join(containers.directory, second.id, "upper/out"), "utf8"), "0\n");
  });

  it("can share everything but its mounts", async () => {
    await using first = await sleeper(mapped());
    const files: Partial<Record<NamespaceType, string>> = {
      network: "net",
      ipc: "ipc",
      uts: "uts",
      pid: "pid",
      cgroup: "cgroup",
    };
    const join_: Change = (spec) => {
      delete spec.hostname;
      for (const namespace of spec.linux.namespaces ?? []) {
        const name = files[namespace.type];
        if (name !== undefined) namespace.path = `/proc/${first.pid}/ns/${name}`;
      }
    };
    await using second = await sleeper(mapped(join_, `/proc/${first.pid}/ns/user`));
    for (const name of ["user", "net", "ipc", "uts", "pid", "cgroup"])
      assert.equal(link(second.pid, name), link(first.pid, name), name);
    assert.notEqual(link(second.pid, "mnt"), link(first.pid, "mnt"));
  });

  it("says which one cannot be joined", async () => {
    assert.match(
      await failure(mapped(undefined, "/proc/self/nosuch")),
      /join user namespace \/proc\/self\/nosuch: no such file/,
    );
    assert.match(
      await failure(mapped(undefined, "/proc/self/ns/net")),
      /join user namespace .*: invalid argument/,
    );
  });
});

const TMPFS_MAGIC = 0x0102_1994;

/** A tmpfs has none before Linux 6.3. */
function whyNotIdMapped(): string | false {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const old = major < 6 || (major === 6 && minor < 3);
  return old && statfsSync(tmpdir()).type === TMPFS_MAGIC && "this tmpfs has no id-mapped mounts";
}

describe("an id-mapped mount", { skip: whyNotIdMapped() }, () => {
  const MOUNT = [{ containerID: 0, hostID: 5000, size: 100 }];
  let source: string;
  before(() => {
    source = join(containers.directory, "owned");
    mkdirSync(source);
    writeFileSync(join(source, "file"), "");
    chownSync(join(source, "file"), 7, 8);
  });
  const data = (options: string[], own = false) => ({
    destination: "/data",
    type: "bind",
    source,
    options,
    ...(own && { uidMappings: MOUNT, gidMappings: MOUNT }),
  });

  it("shows the owners of its own mappings, also without a user namespace", async () => {
    const output = await containers.shell(
      "stat -c '%u %g' /data/file /data; touch /data/new; stat -c %u /data/new",
      {
        spec: (spec) => {
          spec.process.user = { uid: 5003, gid: 5003 };
          spec.mounts.push(data(["bind"], true));
          chmodSync(source, 0o777);
        },
      },
    );
    assert.deepEqual(lines(output), ["5007 5008", "5000 5000", "5003"]);
    assert.equal(statSync(join(source, "new")).uid, 3, "who is 5003 there is 3 on the disk");
  });

  it("has the mappings of the container where it has none", async () => {
    for (const word of ["idmap", "ridmap"]) {
      const options = mapped((spec) => spec.mounts.push(data(["rbind", word])));
      assert.equal(await containers.shell("stat -c '%u %g' /data/file", options), "7 8\n", word);
    }
    const plain = mapped((spec) => spec.mounts.push(data(["rbind"])));
    assert.equal(await containers.shell("stat -c '%u %g' /data/file", plain), "65534 65534\n");
  });

  it("has the mappings of a namespace that is joined", async () => {
    await using first = await sleeper(mapped());
    const options = mapped((spec) => spec.mounts.push(data(["bind", "idmap"])), `/proc/${first.pid}/ns/user`);
    assert.equal(await containers.shell("stat -c '%u %g' /data/file", options), "7 8\n");
  });

  it("is refused by file systems without them", async () => {
    const options = mapped((spec) =>
      spec.mounts.push({ ...data(["bind", "idmap"]), source: "/proc/sys/kernel" }),
    );
    assert.match(
      await failure(options),
      /failed to set MOUNT_ATTR_IDMAP on \/proc\/sys\/kernel: invalid argument/i,
    );
  });
});

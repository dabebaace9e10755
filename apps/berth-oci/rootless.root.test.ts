/** The command line as an ordinary user has it, with ranges of ids that are his, and as root with a user namespace. */
import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import type { Spec } from "#runtime/spec-types.ts";
import { APPLETS, COUNT, OrdinaryUser, SUBORDINATE, UID } from "./ordinary-user.test-tool.ts";

type FullSpec = Spec & Required<Pick<Spec, "process" | "linux" | "mounts">>;

let user: OrdinaryUser;
let directory: string;
const asUser = (script: string, first?: string) => user.asUser(script, first);
const asRoot = (script: string) => user.asRoot(script);
before(() => {
  user = new OrdinaryUser();
  directory = user.directory;
});
after(() => user[Symbol.dispose]());

/** The template of `spec --rootless`, changed. */
function configure(change: (spec: FullSpec) => void): void {
  const path = join(directory, "config.json");
  rmSync(path, { force: true });
  assert.deepEqual(asUser("oci spec --rootless"), { status: 0, stdout: "", stderr: "" });
  const spec = JSON.parse(readFileSync(path, "utf8")) as FullSpec;
  spec.process.terminal = false;
  change(spec);
  writeFileSync(path, JSON.stringify(spec));
}

const script = (spec: FullSpec, text: string) => {
  spec.process.args = ["sh", "-c", text];
};
const lines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => line.trim().replace(/\s+/g, " "));
const ranges = (spec: FullSpec) => {
  for (const field of ["uidMappings", "gidMappings"] as const)
    spec.linux[field]?.push({ containerID: 1, hostID: SUBORDINATE, size: COUNT });
};

afterEach(() => {
  const state = join(directory, "run/berth-oci");
  assert.deepEqual(existsSync(state) ? readdirSync(state) : [], [], "no state is left");
});

describe("an ordinary user", () => {
  it("runs a container as he is, mapped to its root, without any help", () => {
    configure((spec) =>
      script(
        spec,
        "id -u; cat /proc/self/uid_map /proc/self/setgroups; touch /made; echo x > /dev/null; exit 7",
      ),
    );
    const { status, stdout, stderr } = asUser("oci run one");
    assert.deepEqual([stderr, lines(stdout), status], ["", ["0", `0 ${UID} 1`, "deny"], 7]);
    assert.ok(existsSync(join(directory, "rootfs/made")));
  });

  it("has all his ids in a container, by newuidmap and newgidmap", () => {
    configure((spec) => {
      ranges(spec);
      spec.process.user = { uid: 5, gid: 6, additionalGids: [7] };
      script(spec, "id -u; id -g; id -G; cat /proc/self/gid_map; echo again > /dev/stdout");
    });
    const { status, stdout, stderr } = asUser("oci run two | cat");
    assert.equal(stderr, "");
    assert.deepEqual(lines(stdout), ["5", "6", "6 7", `0 ${UID} 1`, `1 ${SUBORDINATE} ${COUNT}`, "again"]);
    assert.equal(status, 0);
  });

  it("has namespaces of its own, with their settings and offsets", () => {
    configure((spec) => {
      ranges(spec);
      spec.linux.namespaces?.push({ type: "network" }, { type: "time" }, { type: "cgroup" });
      spec.linux.timeOffsets = { boottime: { secs: 1_000_000 } };
      spec.linux.sysctl = { "net.ipv4.ip_forward": "1" };
      spec.hostname = "inside";
      script(
        spec,
        "hostname; cat /proc/sys/net/ipv4/ip_forward /proc/uptime; ls /sys/class/net; cat /proc/net/route",
      );
    });
    const { stdout, stderr } = asUser("oci run three");
    assert.equal(stderr, "");
    const [name, forward, uptime = "", ...rest] = lines(stdout);
    assert.deepEqual([name, forward], ["inside", "1"]);
    assert.ok(Number(uptime.split(" ")[0]) > 1_000_000, uptime);
    assert.ok(rest.includes("lo"));
  });

  it("takes a container through its life, with exec, a terminal, and hooks", () => {
    const log = join(directory, "run/hooks");
    configure((spec) => {
      ranges(spec);
      spec.process.args = ["sleep", "1000"];
      const hook = (name: string) => [
        {
          path: "/bin/sh",
          args: ["sh", "-c", `echo ${name} $(id -u) >> ${log}`],
          env: ["PATH=/usr/bin:/bin"],
        },
      ];
      spec.hooks = { createRuntime: hook("createRuntime"), createContainer: hook("createContainer") };
    });
    const { stdout, stderr, status } = asUser(
      [
        "oci create four </dev/null >/dev/null 2>&1 && oci start four && oci state four | grep status",
        'oci exec four sh -c "id -u; echo \\$PPID"',
        "oci exec -u 8:9 four id -u",
        "oci exec -t four tty < /dev/null",
        "oci exec -u 70000 four true; echo $?",
        "oci delete four; echo $?",
        "oci kill four KILL && for i in 1 2 3 4 5 6 7 8 9; do oci state four | grep -q stopped && break; sleep 0.2; done",
        "oci delete four",
      ].join("; "),
    );
    assert.deepEqual(
      lines(stdout.replaceAll("\r", "")),
      ['"status": "running",', "0", "0", "8", "/dev/pts/0", "255", "1"],
      stderr,
    );
    assert.match(stderr, /process\.user\.uid: 70000 is not mapped/);
    assert.match(stderr, /cannot delete container four that is not stopped/);
    assert.equal(status, 0);
    assert.deepEqual(lines(readFileSync(log, "utf8")), [`createRuntime ${UID}`, "createContainer 0"]);
  });

  it("keeps what the host has locked on mounts, and changes the rest", () => {
    const source = join(directory, "locked");
    mkdirSync(source, { recursive: true });
    const options = (stdout: string) => /\/data (\S+)/.exec(stdout)?.[1]?.split(",").slice(0, 4);
    const prepare = `mount -t tmpfs -o nosuid,nodev,noexec x ${source} && chown ${UID} ${source}`;
    const run = (...mounts: FullSpec["mounts"]) => {
      configure((spec) => {
        spec.mounts.push({ destination: "/data", type: "bind", source, options: ["rbind"] }, ...mounts);
        script(spec, "grep ' /data ' /proc/self/mountinfo");
      });
      return asUser("oci run five", prepare);
    };
    assert.deepEqual(options(run().stdout), ["rw", "nosuid", "nodev", "noexec"]);
    const again = run({ destination: "/data", options: ["remount", "bind", "ro"] });
    assert.deepEqual(options(again.stdout), ["ro", "nosuid", "nodev", "noexec"], again.stderr);
    const asked = run({ destination: "/data", options: ["remount", "bind", "suid"] });
    assert.match(asked.stderr, /remount \/data: operation not permitted/i);
  });

  it("is told what only root could do, by field, before anything is made", () => {
    const refusals: [(spec: FullSpec) => void, RegExp][] = [
      [
        (spec) =>
          (spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "user") ?? []),
        /requires user namespaces/,
      ],
      [
        (spec) => (spec.process.user.additionalGids = [1]),
        /additionalGids: cannot set any additional groups/,
      ],
      [(spec) => (spec.process.user.uid = 1), /process\.user\.uid: 1 is not mapped by linux\.uidMappings/],
      [
        (spec) => spec.linux.uidMappings?.push({ containerID: 1, hostID: 1, size: 5 }),
        /linux\.uidMappings: newuidmap failed: .*not allowed/,
      ],
      [
        (spec) => spec.mounts.push({ destination: "/d", source: "/tmp", options: ["bind", "idmap"] }),
        /id-mapped mounts need root's rights/,
      ],
    ];
    for (const [change, pattern] of refusals) {
      configure(change);
      const { status, stderr } = asUser("oci run six");
      assert.equal(status, 1, String(pattern));
      assert.match(stderr, pattern);
      assert.equal(lines(stderr).length, 1, stderr);
    }
  });

  it("is in control groups where he was given them, in no others, and leaves none", (context) => {
    const root = "/sys/fs/cgroup/pids";
    if (!existsSync(join(root, "tasks"))) return context.skip("no version 1 hierarchy of pids");
    const group = `berth-rootless-${process.pid}`;
    context.after(() => rmdirSync(join(root, group)));
    configure((spec) => {
      spec.linux.resources = { pids: { limit: 30 } };
      spec.linux.namespaces?.push({ type: "cgroup" });
      spec.process.args = ["sleep", "1000"];
    });
    const path = join(root, group);
    const first = `mkdir ${path} && chown ${UID} ${path} ${path}/tasks ${path}/cgroup.procs && echo 0 > ${path}/tasks`;
    const { stdout, stderr } = asUser(
      `oci run -d seven </dev/null >/dev/null && cat ${path}/seven/pids.max && grep pids /proc/$(cat ${path}/seven/cgroup.procs)/cgroup | cut -d: -f3; oci exec seven cat /proc/self/cgroup | grep pids; oci delete -f seven; ls -d ${path}/*/; echo 0 > ${root}/tasks`,
      first,
    );
    assert.deepEqual(lines(stdout), ["30", `/${group}/seven`, `${/(\d+):pids:/.exec(stdout)?.[0]}/`], stderr);
  });
});

describe("root with a user namespace", () => {
  const MAPPINGS = [{ containerID: 0, hostID: SUBORDINATE, size: 1000 }];
  const rootfs = () => join(directory, "mapped");
  before(() => {
    mkdirSync(join(rootfs(), "bin"), { recursive: true });
    copyFileSync("/bin/busybox", join(rootfs(), "bin/busybox"));
    for (const name of APPLETS) symlinkSync("busybox", join(rootfs(), "bin", name));
    for (const name of ["", "bin", ...readdirSync(join(rootfs(), "bin")).map((entry) => `bin/${entry}`)])
      lchownSync(join(rootfs(), name), SUBORDINATE, SUBORDINATE);
  });
  const bundle = (change: (spec: FullSpec) => void) => {
    rmSync(join(directory, "config.json"), { force: true });
    assert.equal(asRoot("oci spec").status, 0);
    const spec = JSON.parse(readFileSync(join(directory, "config.json"), "utf8")) as FullSpec;
    spec.process.terminal = false;
    spec.root = { path: "mapped" };
    spec.linux.namespaces?.push({ type: "user" });
    Object.assign(spec.linux, { uidMappings: MAPPINGS, gidMappings: MAPPINGS });
    delete spec.linux.sysctl;
    change(spec);
    writeFileSync(join(directory, "config.json"), JSON.stringify(spec));
  };

  it("runs it on the host's behalf, streams and all", () => {
    bundle((spec) => {
      spec.process.user = { uid: 3, gid: 3 };
      script(spec, "id -u; cat /proc/self/uid_map; echo again > /dev/stdout; exit 4");
    });
    const { stdout, stderr } = asRoot("oci run eight | cat");
    assert.equal(stderr, "");
    assert.deepEqual(lines(stdout), ["3", `0 ${SUBORDINATE} 1000`, "again"]);
  });

  it("enters it by exec, also from a namespace that another one joins", () => {
    bundle((spec) => {
      spec.process.args = ["sleep", "1000"];
    });
    assert.equal(asRoot("oci run -d nine </dev/null >/dev/null 2>&1").status, 0);
    const pid = JSON.parse(asRoot("oci state nine").stdout).pid as number;
    bundle((spec) => {
      delete spec.linux.uidMappings;
      delete spec.linux.gidMappings;
      for (const namespace of spec.linux.namespaces ?? []) {
        if (namespace.type === "user") namespace.path = `/proc/${pid}/ns/user`;
        if (namespace.type === "network") namespace.path = `/proc/${pid}/ns/net`;
      }
      script(spec, "id -u; cat /proc/self/uid_map");
    });
    const { stdout, stderr } = asRoot(
      "oci exec nine id -u; oci exec -u 5 nine id -u; oci run ten; oci delete -f nine",
    );
    assert.equal(stderr, "");
    assert.deepEqual(lines(stdout), ["0", "5", "0", `0 ${SUBORDINATE} 1000`]);
  });
});

import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { BerthError } from "#errors/errors.ts";
import { LaunchError } from "#program/launch-error.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import { compileExec } from "#runtime/compile-exec.ts";
import { defaultSpec } from "#runtime/default-spec.ts";
import { explainExecFailure, explainStartFailure, StartError } from "#runtime/explain.ts";
import type { CompiledLaunch, ContainerLaunch, ExecLaunch } from "#runtime/launch-types.ts";

const ID = "0123456789abcdef";
const v1 = {
  cpu: "/sys/fs/cgroup/cpu,cpuacct",
  cpuacct: "/sys/fs/cgroup/cpu,cpuacct",
  cpuset: "/sys/fs/cgroup/cpuset",
};
const host = {
  architecture: "x64" as const,
  lastCapability: 40,
  seccompActions: [],
  apparmor: false,
  kernelRelease: "6.1.0",
};

function launchOf(
  change: (launch: ContainerLaunch & { spec: ReturnType<typeof defaultSpec> }) => void = () => {},
) {
  const launch = {
    id: ID,
    spec: defaultSpec({ architecture: "x64", kernelRelease: "6.1.0" }),
    rootfs: {
      kind: "overlay" as const,
      base: "/data/overlay2",
      lower: ["l/AAAA", "l/BBBB"],
      upper: `${ID}/diff`,
      work: `${ID}/work`,
      merged: `${ID}/merged`,
      options: [],
    },
    cgroups: { version: 1 as const, v1, v2Controllers: [] },
    sandbox: { host: [], container: [], sysctls: {} },
    stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0 },
    log: { format: "json-file" as const, path: `/data/containers/${ID}/${ID}-json.log`, attrs: "" },
    execDirectory: `/run/x/${ID}`,
    host,
  };
  change(launch);
  return launch;
}

function execOf(change: (launch: ExecLaunch) => void = () => {}): ExecLaunch {
  const { spec } = launchOf();
  const launch: ExecLaunch = {
    id: "exec",
    containerId: ID,
    pid: 4321,
    spec,
    process: { ...spec.process, args: ["id"], cwd: "/tmp" },
    privileged: false,
    cgroups: { version: 1, v1, v2Controllers: [] },
    stdio: { terminal: false, openStdin: false, stdinOnce: false, expectedAttaches: 0 },
    execDirectory: "/run/x/exec",
    host,
  };
  change(launch);
  return launch;
}

/** Compares with a file beside the tests; BERTH_UPDATE_GOLDEN=1 writes it anew, for the difference to be looked at. */
function golden(name: string, compiled: CompiledLaunch): void {
  const file = join(import.meta.dirname, "golden", `${name}.txt`);
  const listing = compiled.program.listing();
  if (process.env.BERTH_UPDATE_GOLDEN === "1") writeFileSync(file, listing);
  assert.ok(existsSync(file), `${file} is missing`);
  assert.equal(listing, readFileSync(file, "utf8"));
}

const full = launchOf((launch) => {
  const { spec } = launch;
  spec.hostname = "box";
  spec.root = { path: "rootfs", readonly: true };
  spec.process.cwd = "/srv";
  spec.process.user = { uid: 1000, gid: 1000, additionalGids: [1000] };
  spec.process.noNewPrivileges = true;
  spec.process.oomScoreAdj = 100;
  spec.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 1024, hard: 4096 }];
  spec.linux.resources = {
    memory: { limit: 1 << 26, swap: 1 << 27 },
    pids: { limit: 50 },
    cpu: { cpus: "0" },
  };
  spec.mounts.push({ destination: "/data", type: "bind", source: "/srv/data", options: ["rbind", "ro"] });
  launch.stdio = {
    terminal: true,
    openStdin: true,
    stdinOnce: true,
    expectedAttaches: 1,
    rows: 24,
    columns: 80,
  };
  launch.cgroups = {
    version: 2,
    v1: {},
    v2: "/sys/fs/cgroup",
    v2Controllers: ["cpuset", "memory", "pids"],
  } as never;
  launch.sandbox = {
    host: [{ why: "create veth pair", bytes: new Uint8Array(64), pidAt: [40] }],
    container: [{ why: "add address", bytes: new Uint8Array(32), pidAt: [] }],
    sysctls: { "net/ipv6/conf/all/disable_ipv6": "1" },
  } as never;
  launch.initPath = "/usr/lib/berth/launcher";
});

const mapped = (change: (launch: ContainerLaunch) => void = () => {}) =>
  launchOf((launch) => {
    const mappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    launch.spec.linux.namespaces?.push({ type: "user" });
    Object.assign(launch.spec.linux, { uidMappings: mappings, gidMappings: mappings });
    launch.spec.mounts.push({
      destination: "/data",
      type: "bind",
      source: "/srv/data",
      options: ["bind", "idmap"],
    });
    change(launch);
  });

describe("a compiled container", () => {
  it("is the program it was before", () => {
    golden("default", compileContainer(launchOf()));
    golden("everything", compileContainer(full));
    golden("user-namespace", compileContainer(mapped()));
    golden("exec", compileExec(execOf()));
  });

  it("is the same every time, and can be made for the other architecture", () => {
    const once = compileContainer(launchOf()).program;
    assert.deepEqual(once.bytes, compileContainer(launchOf()).program.bytes);
    const arm = launchOf((launch) => {
      launch.host = { ...host, architecture: "arm64" as never };
    });
    assert.ok(compileContainer(arm).program.bytes.length > 0);
    assert.ok(compileExec(execOf((launch) => (launch.host = { ...host, architecture: "arm64" }))));
  });

  it("says where its socket and exit record are", () => {
    const { controlSocket, exitFile, execveInstructions, program } = compileContainer(launchOf());
    assert.deepEqual([controlSocket, exitFile], [`/run/x/${ID}/shim.sock`, `/run/x/${ID}/exit`]);
    for (const index of execveInstructions) assert.match(program.labels[index] ?? "", /^exec /);
    assert.equal(execveInstructions.at(-1), program.labels.length - 1);
  });

  it("reaches into the root by openat2 alone, once the root is there", () => {
    const listing = compileContainer(launchOf()).program.listing().split("\n");
    const opened = listing.findIndex((line) => line.includes("# open root file system"));
    const pivoted = listing.findIndex((line) => line.includes("pivot_root"));
    assert.ok(opened > 0 && pivoted > opened);
    const between = listing.slice(opened + 1, pivoted);
    // Host paths that are no part of the root: the control groups, the null device, the run directory.
    const host = /"(\/sys\/fs\/cgroup\/|\/dev\/null|\/run\/x|\/")/;
    for (const line of between.filter((line) => /AT_FDCWD, "/.test(line))) assert.match(line, host);
    for (const line of between) assert.doesNotMatch(line, /\b(mount|mkdir|open|chdir)\("/);
  });

  it("installs the filter after everything it might forbid", () => {
    const after = (compiled: CompiledLaunch) => {
      const lines = compiled.program.listing().split("\n");
      const calls = lines.slice(lines.findIndex((line) => line.includes("seccomp(")) + 1);
      return [...new Set(calls.map((line) => /^ +\d+ +(\w+)\(/.exec(line)?.[1]).filter(Boolean))];
    };
    assert.deepEqual(after(compileContainer(launchOf())), ["capset", "prctl", "execve"]);
    assert.deepEqual(after(compileContainer(full)), ["execve"]);
  });

  it("refuses what it cannot do as it says", () => {
    const refused = (change: Parameters<typeof launchOf>[0], pattern: RegExp, code = "invalid") =>
      assert.throws(
        () => compileContainer(launchOf(change)),
        (error: unknown) => error instanceof BerthError && error.code === code && pattern.test(error.message),
        String(pattern),
      );
    refused(({ spec }) => (spec.process.args = []), /no command specified/);
    refused(({ spec }) => (spec.process.args = ["a\0b"]), /NUL/);
    refused(({ spec }) => (spec.process.cwd = "relative"), /not an absolute path/);
    refused(({ spec }) => (spec.process.user.uid = 2 ** 32), /process.user.uid: 4294967296/);
    refused(({ spec }) => (spec.process.user.uid = 0.5), /process.user.uid: 0.5/);
    refused(({ spec }) => (spec.hooks = { prestart: [{ path: "/x" }] }), /hooks/, "not-implemented");
    refused(({ spec }) => (spec.linux.namespaces = []), /mount namespace/, "not-implemented");
    refused(
      ({ spec }) => spec.linux.namespaces?.push({ type: "user" }),
      /linux\.uidMappings: user namespaces enabled, but no mappings found/,
    );
    refused(({ spec }) => spec.linux.namespaces?.push({ type: "pid" }), /duplicated namespace pid/);
    const bind = { destination: "/data", type: "bind", source: "/srv", options: ["bind"] };
    const ids = [{ containerID: 0, hostID: 5, size: 1 }];
    const refusedMount = (mount: object, pattern: RegExp) =>
      refused(({ spec }) => (spec.mounts = [{ ...bind, ...mount }]), pattern);
    refusedMount({ options: ["bind", "idmap"] }, /^mounts\[0\]: "idmap" needs mappings/);
    refusedMount({ uidMappings: ids }, /^mounts\[0\]: .*both uidMappings and gidMappings/);
    refusedMount({ uidMappings: [{}], gidMappings: ids }, /^mounts\[0\]\.uidMappings\[0\]\.containerID/);
    refusedMount(
      { type: "tmpfs", options: [], uidMappings: ids, gidMappings: ids },
      /^mounts\[0\]: id-mapped mounts are only supported for bind mounts/,
    );
    refused((launch) => {
      launch.spec.mounts = [{ ...bind, uidMappings: ids, gidMappings: ids }];
      launch.rootless = { uid: 1000, gid: 1000 };
    }, /^mounts\[0\]: id-mapped mounts need root's rights/);
    refused(({ spec }) => (spec.linux.sysctl = { "net/../kernel": "1" }), /not in a separate/);
    refused(
      ({ spec }) => (spec.linux.namespaces = [{ type: "mount" }]),
      /sysctl "net.ipv4.ip_unprivileged_port_start" not allowed in host network namespace/,
    );
    refused(({ spec }) => (spec.linux.cgroupsPath = "/../x"), /invalid cgroup path/);
    refused(({ spec }) => (spec.linux.devices = [{ type: "x" as never, path: "/dev/x" }]), /invalid type/);
    refused(({ spec }) => spec.mounts.push({ destination: "/x", source: "/y" }), /mounts\[7\]\.type/);
  });

  it("keeps the dots of interface names in sysctls", () => {
    const { program } = compileContainer(
      launchOf(({ spec }) => {
        spec.linux.sysctl = { "net.ipv4.conf.eth0/100.forwarding": "1" };
      }),
    );
    assert.match(program.listing(), /"sys\/net\/ipv4\/conf\/eth0\.100\/forwarding"/);
  });
});

describe("a failed instruction", () => {
  const compiled = compileContainer(launchOf(({ spec }) => (spec.process.args = ["nosuch"])));
  const failure = (label: RegExp, errno: number, command = "nosuch") => {
    const index = compiled.program.labels.findLastIndex((text) => label.test(text));
    assert.ok(index >= 0, String(label));
    const error = explainStartFailure(compiled, new LaunchError(compiled.program, index, errno), command);
    assert.ok(error instanceof StartError);
    return { text: error.message, code: error.exitCode, status: error.code };
  };

  it("is told in Docker's words, with Docker's exit code", () => {
    const missing = failure(/^exec /, 2);
    assert.equal(
      missing.text,
      "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: " +
        'unable to start container process: exec: "nosuch": executable file not found in $PATH: unknown',
    );
    assert.deepEqual([missing.code, missing.status], [127, "start-failed"]);
    assert.match(
      failure(/^exec /, 2, "/x").text,
      /exec: "\/x": stat \/x: no such file or directory: unknown$/,
    );
    assert.deepEqual([failure(/^exec /, 13).code, failure(/^exec /, 13, "/x").code], [127, 126]);
    assert.match(failure(/^exec /, 8, "/x").text, /exec: "\/x": exec format error/);
    assert.equal(failure(/^exec /, 8, "/x").code, 126);
    assert.match(
      failure(/^chdir to cwd/, 2).text,
      /chdir to cwd \("\/"\) set in config.json failed: no such file or directory/,
    );
    assert.match(
      failure(/^mount proc on/, 1).text,
      /error during container init: mount proc on \/proc: operation not permitted/,
    );
    assert.equal(failure(/^mount proc on/, 1).code, 128);
  });

  it("is told the same way of an exec, and left alone if it is another error", () => {
    const exec = compileExec(execOf());
    const index = exec.program.labels.length - 1;
    const error = explainExecFailure(exec, new LaunchError(exec.program, index, 2), "id") as StartError;
    assert.equal(
      error.message,
      'OCI runtime exec failed: exec failed: unable to start container process: exec: "id": executable file not found in $PATH: unknown',
    );
    assert.equal(error.exitCode, 127);
    const other = new Error("other");
    assert.equal(explainExecFailure(exec, other, "id"), other);
    assert.equal(explainStartFailure(compiled, other, "id"), other);
  });
});

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { LaunchError } from "#program/launch-error.ts";
import { cgroupDirectories } from "#runtime/cgroups/container-cgroup.ts";
import { readOomKills } from "#runtime/cgroups/events.ts";
import { freeze, thaw } from "#runtime/cgroups/freezer.ts";
import { containerProcesses } from "#runtime/cgroups/processes.ts";
import { Containers, type RunOptions } from "#runtime/container.test-tool.ts";
import { explainStartFailure, StartError } from "#runtime/explain.ts";
import { eventually } from "#test/fixtures/eventually.ts";

let containers: Containers;
before(() => {
  containers = new Containers();
});
after(async () => {
  await containers[Symbol.asyncDispose]();
});

const shell = (script: string, options?: RunOptions) => containers.shell(script, options);
const lines = (text: string) => text.trimEnd().split("\n");
/** The host's mounts in the tests' own directory: those elsewhere are other people's, and come and go. */
const ownMounts = () =>
  lines(readFileSync("/proc/self/mountinfo", "utf8")).filter((line) => line.includes(containers.directory));

/** The status file of the container's shell as a map. */
async function status(options?: RunOptions): Promise<Record<string, string>> {
  const text = await shell("cat /proc/self/status", options);
  return Object.fromEntries(lines(text).map((line) => line.split(":\t") as [string, string]));
}

describe("a default container", () => {
  it("runs its command as PID 1 of its own namespaces and hands back the exit code", async () => {
    const { output, exitCode } = await containers.run({ args: ["sh", "-c", "echo $$; exit 7"] });
    assert.deepEqual({ output, exitCode }, { output: "1\n", exitCode: 7 });
    const inside = lines(await shell("for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done"));
    for (const [index, name] of ["mnt", "pid", "net", "ipc", "uts"].entries()) {
      assert.match(inside[index] ?? "", new RegExp(`^${name}:`));
      assert.notEqual(inside[index], readlinkSync(`/proc/self/ns/${name}`));
    }
  });

  it("ends by the signal that killed it: 128 + number", async () => {
    await using container = await containers.start({ args: ["sleep", "1000"] });
    container.shim.signal(9);
    const { exitCode, signal } = await container.exited;
    assert.deepEqual({ exitCode, signal }, { exitCode: 137, signal: 9 });
  });

  it("has Docker's mounts, and nothing of the host's", async () => {
    const table = lines(await shell("cat /proc/self/mountinfo")).map((line) => line.split(" "));
    const points = table.map((fields) => fields[4]);
    const masks = points.filter(
      (point) => /^\/(proc|sys)\/./.test(point ?? "") && !point?.startsWith("/sys/fs/cgroup"),
    );
    const rest = points.filter((point) => !masks.includes(point) && !point?.startsWith("/sys/fs/cgroup/"));
    assert.deepEqual(rest, [
      "/",
      "/dev",
      "/dev/pts",
      "/dev/mqueue",
      "/dev/shm",
      "/proc",
      "/sys",
      "/sys/fs/cgroup",
    ]);
    const options = (point: string) => table.find((fields) => fields[4] === point)?.[5];
    assert.match(options("/proc") ?? "", /^rw,nosuid,nodev,noexec/);
    assert.match(options("/sys") ?? "", /^ro,nosuid,nodev,noexec/);
    assert.match(options("/dev/shm") ?? "", /nosuid,nodev,noexec/);
    // No optional field: nothing is shared with or received from anybody.
    for (const fields of table) assert.equal(fields[6], "-", `propagation of ${fields[4]}`);
  });

  it("cannot write to what is read-only and cannot read what is masked", async () => {
    const script = `
      for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/mm/x; do (echo x > $f) 2>/dev/null && echo "wrote $f"; done
      for f in /proc/interrupts /proc/keys /proc/timer_list; do [ -s $f ] && wc -c < $f; done
      ls /proc/acpi /sys/firmware | grep -v :
      [ -c /proc/keys ] && echo masked; touch /proc/acpi/x 2>/dev/null || echo refused`;
    assert.deepEqual(lines(await shell(script)).filter(Boolean), ["masked", "refused"]);
  });

  it("has the default devices and links, and no others", async () => {
    const names = lines(await shell("ls /dev")).sort();
    const expected =
      "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split(" ");
    assert.deepEqual(names, expected);
    const script =
      "echo lost > /dev/null; head -c 4 /dev/zero | wc -c; echo x > /dev/full 2>/dev/null || echo full; stat -c '%a %t:%T' /dev/null";
    assert.deepEqual(lines(await shell(script)), ["4", "full", "666 1:3"]);
  });

  it("may make device nodes but not use them", async () => {
    const script =
      "mknod /tmp/kmsg c 1 11 && (head -c 1 /tmp/kmsg 2>&1 | head -n 1); mknod /tmp/fuse c 10 229; cat /tmp/fuse 2>&1";
    const { output } = await containers.run({ args: ["sh", "-c", script] });
    assert.match(output, /kmsg.*not permitted[\s\S]*fuse.*not permitted/);
  });

  it("has fourteen capabilities, a filter, and inherits none", async () => {
    const { CapInh, CapPrm, CapEff, CapBnd, CapAmb, Seccomp, NoNewPrivs } = await status();
    const mask = "00000000a80425fb";
    const none = "0000000000000000";
    assert.deepEqual(
      { CapInh, CapPrm, CapEff, CapBnd, CapAmb, Seccomp, NoNewPrivs },
      { CapInh: none, CapPrm: mask, CapEff: mask, CapBnd: mask, CapAmb: none, Seccomp: "2", NoNewPrivs: "0" },
    );
  });

  it("cannot mount, unshare, or change its host's name", async () => {
    const script = "mount -t tmpfs none /tmp; unshare -m true; unshare -U true; hostname other; umount /proc";
    const { output } = await containers.run({ args: ["sh", "-c", script] });
    for (const line of lines(output)) assert.match(line, /not permitted|denied/);
    assert.equal(lines(output).length, 5);
  });

  it("has no descriptor but its own three", async () => {
    assert.deepEqual(lines(await shell("ls /proc/self/fd; ls /proc/1/fd; true")), [
      "0",
      "1",
      "2",
      "3",
      "0",
      "1",
      "2",
    ]);
  });

  it("starts in a session of its own with the usual umask and signals", async () => {
    const { output } = await containers.run({ args: ["cat", "/proc/self/status", "/proc/self/stat"] });
    const found = Object.fromEntries(lines(output).map((line) => line.split(":\t")));
    const { Umask, SigIgn, SigBlk } = found as Record<string, string>;
    assert.deepEqual(
      { Umask, SigIgn, SigBlk },
      { Umask: "0022", SigIgn: "0000000000000000", SigBlk: "0000000000000000" },
    );
    // Process group and session.
    assert.match(output, /^1 \(cat\) R 0 1 1 /m);
  });

  it("has its loopback device up and no other", async () => {
    const out = await shell("ip -o link; ip -o addr show lo");
    assert.match(out, /lo: <LOOPBACK,UP/);
    assert.match(out, /127\.0\.0\.1\/8/);
    assert.doesNotMatch(out, /^2:/m);
  });

  it("leaves the host's mount table as it was, and its groups can be removed", async () => {
    const beforeStart = ownMounts();
    const container = await containers.start({ args: ["sleep", "1000"] });
    assert.deepEqual(ownMounts(), beforeStart);
    const directories = cgroupDirectories(containers.cgroups, container.id);
    for (const { path } of directories) assert.ok(existsSync(path), path);
    assert.deepEqual(containerProcesses(containers.cgroups, container.id), [container.pid]);
    await container[Symbol.asyncDispose]();
    for (const { path } of directories) assert.ok(!existsSync(path), path);
    assert.deepEqual(ownMounts(), beforeStart);
  });
});

describe("the configuration", () => {
  it("gives environment, arguments, host name and working directory, making it if it is missing", async () => {
    const output = await shell('echo "$A|$0|$(hostname)|$(pwd)"; stat -c %a:%u .', {
      spec: (spec) => {
        spec.process.env?.push("A=b c");
        spec.process.cwd = "/srv/deep/er";
        spec.hostname = "box";
      },
    });
    assert.deepEqual(lines(output), ["b c|sh|box|/srv/deep/er", "755:0"]);
  });

  it("gives user, groups, and limits; a user other than root has no capabilities", async () => {
    const options: RunOptions = {
      spec: ({ process }) => {
        process.user = { uid: 1000, gid: 1001, additionalGids: [1001, 7], umask: 0o077 };
        process.rlimits = [{ type: "RLIMIT_NOFILE", soft: 100, hard: 200 }];
      },
    };
    const found = await status(options);
    assert.equal(found.Uid, "1000\t1000\t1000\t1000");
    assert.equal(found.Gid, "1001\t1001\t1001\t1001");
    assert.equal(found.Groups?.trim(), "7 1001");
    assert.equal(found.CapEff, "0000000000000000");
    assert.equal(found.CapPrm, "0000000000000000");
    assert.equal(found.CapBnd, "00000000a80425fb");
    assert.equal(found.Umask, "0077");
    assert.equal(found.Seccomp, "2");
    // Its output can be opened again by name, as programs that log to /dev/stdout do.
    assert.deepEqual(lines(await shell("ulimit -n; ulimit -Hn; echo again > /dev/stdout", options)), [
      "100",
      "200",
      "again",
    ]);
  });

  it("keeps ambient capabilities for a user who shall have them", async () => {
    const { CapEff, CapAmb } = await status({
      spec: ({ process }) => {
        process.user = { uid: 1000, gid: 1000 };
        const net = ["CAP_NET_BIND_SERVICE"];
        process.capabilities = {
          bounding: net,
          effective: net,
          permitted: net,
          inheritable: net,
          ambient: net,
        };
      },
    });
    assert.deepEqual({ CapEff, CapAmb }, { CapEff: "0000000000000400", CapAmb: "0000000000000400" });
  });

  it("gives up new privileges when asked", async () => {
    for (const uid of [0, 1000]) {
      const { NoNewPrivs, Seccomp, CapPrm } = await status({
        spec: ({ process }) => {
          process.noNewPrivileges = true;
          process.user = { uid, gid: uid };
        },
      });
      const mask = uid === 0 ? "00000000a80425fb" : "0000000000000000";
      assert.deepEqual({ NoNewPrivs, Seccomp, CapPrm }, { NoNewPrivs: "1", Seccomp: "2", CapPrm: mask });
    }
  });

  it("adjusts the OOM score and sets sysctls of the container's own", async () => {
    const output = await shell(
      "cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax",
      {
        spec: ({ process, linux }) => {
          process.oomScoreAdj = 500;
          linux.sysctl = { ...linux.sysctl, "kernel.msgmax": "4096" };
        },
      },
    );
    assert.deepEqual(lines(output), ["500", "0", "4096"]);
  });

  it("refuses sysctls of the host", async () => {
    for (const name of ["kernel.core_pattern", "vm.overcommit_memory", "kernel.hostname", "fs.file-max"]) {
      const spec: RunOptions["spec"] = ({ linux }) => {
        linux.sysctl = { [name]: "1" };
      };
      await assert.rejects(containers.start({ spec }), /not in a separate kernel namespace|conflicts with/);
    }
  });

  it("limits memory, processors and processes", async () => {
    const options: RunOptions = {
      spec: ({ linux }) => {
        linux.resources = {
          ...linux.resources,
          memory: { limit: 64 << 20, swap: 128 << 20 },
          cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0" },
          pids: { limit: 50 },
        };
      },
    };
    const script = `cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares
      cat cpu/cpu.cfs_quota_us cpuset/cpuset.cpus pids/pids.max; (echo 1 > memory/memory.limit_in_bytes) 2>/dev/null || echo read-only`;
    const expected = ["67108864", "134217728", "512", "50000", "0", "50", "read-only"];
    assert.deepEqual(lines(await shell(script, options)), expected);
    const many = "n=0; while [ $n -lt 60 ]; do sleep 9 & n=$((n+1)); done; true";
    assert.match((await containers.run({ args: ["sh", "-c", many], ...options })).output, /fork/);
  });

  it("mounts directories, single files, tmpfs, read-only and writable, where nothing was before", async () => {
    const source = join(containers.directory, "volume");
    mkdirSync(join(source, "below"), { recursive: true });
    writeFileSync(join(source, "file"), "content\n");
    const output = await shell(
      "cat /new/dir/file /etc/one; (echo x > /ro/file) 2>&1 | grep -c 'Read-only'; echo more >> /new/dir/file; stat -c %a /t; grep -c '^tmpfs /t tmpfs' /proc/mounts; ls /part",
      {
        spec: ({ mounts }) => {
          mounts.push(
            { destination: "/new/dir", type: "bind", source, options: ["rbind", "rprivate"] },
            { destination: "/etc/one", type: "bind", source: join(source, "file"), options: ["bind", "ro"] },
            { destination: "/ro", type: "bind", source, options: ["rbind", "ro"] },
            { destination: "/t", type: "tmpfs", source: "tmpfs", options: ["size=1m", "mode=1770"] },
            { destination: "/part", type: "bind", source, subpath: "below/..", options: ["rbind"] },
          );
        },
      },
    );
    assert.deepEqual(lines(output), ["content", "content", "1", "1770", "1", "below", "file"]);
    assert.equal(readFileSync(join(source, "file"), "utf8"), "content\nmore\n");
  });

  it("makes the root read-only, with writable mounts in it", async () => {
    const output = await shell("touch /x 2>&1; touch /tmp/x /dev/shm/y && echo fine", {
      spec: (spec) => {
        spec.root = { path: "rootfs", readonly: true };
        spec.mounts.push({ destination: "/tmp", type: "tmpfs", source: "tmpfs", options: [] });
      },
    });
    assert.match(output, /Read-only file system\nfine/);
  });

  it("runs from a plain directory as well", async () => {
    const path = containers.makeRootfs("plain");
    const launch: RunOptions["launch"] = (to) => {
      to.rootfs = { kind: "directory", path };
    };
    await shell("echo kept > /kept", { launch });
    assert.equal(readFileSync(join(path, "kept"), "utf8"), "kept\n");
  });

  it("takes more layers than fit into a page of mount options", async () => {
    const lower: string[] = [];
    for (let index = 0; index < 120; index++) {
      const name = `layers/${"x".repeat(40)}${index}`;
      mkdirSync(join(containers.directory, name), { recursive: true });
      writeFileSync(join(containers.directory, name, `l${index}`), "");
      lower.push(name);
    }
    const launch: RunOptions["launch"] = ({ rootfs }) => {
      if (rootfs.kind === "overlay") rootfs.lower = [...lower, "rootfs"];
    };
    assert.equal(await shell("ls / | grep -c '^l[0-9]'", { launch }), "120\n");
  });

  it("opens everything with privileged settings", async () => {
    const { defaultSpec } = await import("#runtime/default-spec.ts");
    const { architecture, kernelRelease } = containers.host;
    const options: RunOptions = {
      spec: (spec) => {
        const privileged = defaultSpec({ architecture, kernelRelease, privileged: true });
        spec.process.capabilities = privileged.process.capabilities ?? {};
        spec.linux = privileged.linux;
        spec.mounts = privileged.mounts;
      },
    };
    const { CapEff, Seccomp } = await status(options);
    const all = containers.host.availableCapabilities ?? 0n;
    assert.equal(BigInt(`0x${CapEff}`), all & ((1n << BigInt(containers.host.lastCapability + 1)) - 1n));
    assert.equal(Seccomp, "0");
    const script =
      "mount -t tmpfs none /tmp && echo mounted; mknod /tmp/null c 1 3 && mkdir /sys/fs/cgroup/pids/x && rmdir /sys/fs/cgroup/pids/x && echo group";
    assert.match(await shell(script.replace("rmdir", "busybox rmdir"), options), /mounted\ngroup/);
  });

  it("joins namespaces of another container", async () => {
    await using first = await containers.start({
      args: ["sleep", "1000"],
      spec: (spec) => {
        spec.hostname = "first";
      },
    });
    const paths = Object.fromEntries(
      ["net", "pid", "ipc", "uts"].map((name) => [name, `/proc/${first.pid}/ns/${name}`]),
    );
    const output = await shell(
      "hostname; ls /proc | grep -c '^[0-9]'; echo $$ | grep -v '^1$' | wc -l; readlink /proc/self/ns/net",
      {
        spec: ({ linux }) => {
          linux.namespaces = [
            { type: "mount" },
            { type: "network", path: paths.net as string },
            { type: "pid", path: paths.pid as string },
            { type: "ipc", path: paths.ipc as string },
            { type: "uts", path: paths.uts as string },
          ];
        },
      },
    );
    const [name, , other, net] = lines(output);
    assert.deepEqual([name, other, net], ["first", "1", readlinkSync(`/proc/${first.pid}/ns/net`)]);
  });

  it("has the host's namespaces where none are listed", async () => {
    const output = await shell("readlink /proc/self/ns/net; readlink /proc/self/ns/uts", {
      spec: ({ linux }) => {
        linux.namespaces = [{ type: "mount" }, { type: "pid" }, { type: "ipc" }];
        delete linux.sysctl;
      },
    });
    const host = ["net", "uts"].map((name) => readlinkSync(`/proc/self/ns/${name}`));
    assert.deepEqual(lines(output), host);
  });

  it("runs an init as PID 1 that reaps and hands back the exit code", async () => {
    const launch: RunOptions["launch"] = (to) => {
      to.initPath = containers.launcherPath;
    };
    const args = [
      "sh",
      "-c",
      "cat /proc/1/cmdline; echo; grep ' /sbin/docker-init ' /proc/mounts | sed 's/.* \\(r[ow],[a-z]*\\).*/\\1/'; exit 5",
    ];
    const { output, exitCode } = await containers.run({ args, launch });
    assert.equal(exitCode, 5);
    assert.match(output.replaceAll("\0", " "), /^\/sbin\/docker-init -- sh -c/);
    assert.match(output, /ro,nosuid/);
  });

  it("puts processes into a cgroup namespace of their own when listed", async () => {
    const output = await shell("cat /proc/self/cgroup; ls /sys/fs/cgroup/pids/pids.max", {
      spec: ({ linux }) => {
        linux.namespaces?.push({ type: "cgroup" });
      },
    });
    for (const line of lines(output).slice(0, -1)) assert.match(line, /:\/$/);
    assert.match(output, /pids\.max/);
  });
});

describe("a terminal", () => {
  it("is the controlling one, on /dev/console, of the size asked for", async () => {
    const launch: RunOptions["launch"] = (to) => {
      to.stdio = {
        terminal: true,
        openStdin: true,
        stdinOnce: false,
        expectedAttaches: 0,
        rows: 33,
        columns: 99,
      };
    };
    const output = await shell(
      "tty; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; stat -c %t:%T /dev/console; (echo x > /dev/tty) && ls /dev/pts",
      { launch },
    );
    const found = output.replaceAll("\r", "");
    assert.match(found, /^\/dev\/pts\/0\n33 99\nall\n88:0\nx\n0\n? *ptmx/);
  });

  it("is there for a user other than root", async () => {
    const launch: RunOptions["launch"] = (to) => {
      to.stdio = { terminal: true, openStdin: true, stdinOnce: false, expectedAttaches: 0 };
    };
    const spec: RunOptions["spec"] = ({ process }) => {
      process.user = { uid: 1000, gid: 1000 };
    };
    const output = await shell("stat -c '%u %g %a' $(tty); echo again > /dev/stdout", { launch, spec });
    assert.equal(output.replaceAll("\r", ""), "1000 5 620\nagain\n");
  });
});

describe("a failed start", () => {
  async function failure(options: RunOptions, command: string): Promise<StartError> {
    const started = containers.start(options);
    const error = await started.then(
      () => assert.fail("it started"),
      (reason: unknown) => reason as LaunchError & { compiled: never },
    );
    assert.ok(error instanceof LaunchError, String(error));
    const explained = explainStartFailure((error as { compiled: never }).compiled, error, command);
    assert.ok(explained instanceof StartError);
    return explained;
  }

  it("is 127 for a command that is nowhere", async () => {
    const { message, exitCode } = await failure({ args: ["nosuch"] }, "nosuch");
    assert.match(message, /exec: "nosuch": executable file not found in \$PATH: unknown$/);
    assert.equal(exitCode, 127);
    const path = await failure({ args: ["/no/such"] }, "/no/such");
    assert.match(path.message, /exec: "\/no\/such": stat \/no\/such: no such file or directory: unknown$/);
    assert.equal(path.exitCode, 127);
  });

  it("is 126 for one that cannot be run", async () => {
    const { message, exitCode } = await failure({ args: ["/etc/passwd"] }, "/etc/passwd");
    assert.match(message, /exec: "\/etc\/passwd": permission denied: unknown$/);
    assert.equal(exitCode, 126);
    assert.equal((await failure({ args: ["/etc"] }, "/etc")).exitCode, 126);
  });

  it("looks further along PATH than a directory it may not enter", async () => {
    const spec: RunOptions["spec"] = ({ process }) => {
      process.env = ["PATH=/etc/passwd:/root/locked:/etc:/nosuch:/bin"];
      process.user = { uid: 1000, gid: 1000 };
    };
    const { output } = await containers.run({ args: ["echo", "found"], spec });
    assert.equal(output, "found\n");
    const missing = await failure({ args: ["passwd"], spec }, "passwd");
    assert.match(missing.message, /executable file not found in \$PATH/);
  });

  it("names the mount whose source is missing or of the wrong kind, and is no success half way", async () => {
    const mount = (source: string, destination: string): RunOptions => ({
      spec: ({ mounts }) => {
        mounts.push({ destination, type: "bind", source, options: ["rbind"] });
      },
    });
    const missing = await failure(mount("/no/such/source", "/x"), "sh");
    assert.match(missing.message, /bind mount source path \/no\/such\/source: no such file or directory/);
    const wrong = await failure(mount("/etc", "/etc/passwd"), "sh");
    assert.match(wrong.message, /not a directory: Are you trying to mount a directory onto a file/);
    const other = await failure(mount("/etc/hostname", "/etc"), "sh");
    assert.match(other.message, /not a directory: Are you trying to mount a directory onto a file/);
  });

  it("tells of a limit the kernel does not take", async () => {
    const { message, exitCode } = await failure(
      {
        spec: ({ linux }) => {
          linux.resources = { cpu: { cpus: "4000" } };
        },
      },
      "sh",
    );
    assert.match(message, /set cpuset\.cpus to 4000/);
    assert.equal(exitCode, 128);
  });

  it("leaves no process and no mount behind", async () => {
    const shims = () =>
      readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .filter((pid) => {
          try {
            return (
              readFileSync(`/proc/${pid}/comm`, "utf8") === "berth-shim\n" &&
              readlinkSync(`/proc/${pid}/exe`) === containers.launcherPath
            );
          } catch {
            return false;
          }
        });
    // One that is there shows that they are seen.
    await using container = await containers.start({ args: ["sleep", "1000"] });
    const own = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${container.pid}/status`, "utf8"))?.[1];
    const mounts = ownMounts();
    await failure({ args: ["nosuch"] }, "nosuch");
    assert.deepEqual(ownMounts(), mounts);
    await eventually(() => assert.deepEqual(shims(), [own]));
  });
});

describe("an exec", () => {
  it("joins everything of its container", async () => {
    await using container = await containers.start({
      args: ["sleep", "1000"],
      spec: (spec) => {
        spec.hostname = "box";
      },
    });
    const script = `exec > /out 2>&1; hostname; for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done
      grep -E 'CapEff|CapInh|Seccomp:' /proc/self/status; cat /proc/self/cgroup | grep pids; ls /proc/self/fd; pwd; echo $B; id -u`;
    const { exitCode } = await containers.exec(container, {
      args: ["sh", "-c", script],
      cwd: "/tmp",
      env: ["B=c", "PATH=/bin"],
      user: { uid: 0, gid: 0, additionalGids: [0] },
    });
    assert.equal(exitCode, 0);
    const out = lines(readFileSync(`${containers.directory}/${container.id}/upper/out`, "utf8"));
    const spaces = ["mnt", "pid", "net", "ipc", "uts"].map((name) =>
      readlinkSync(`/proc/${container.pid}/ns/${name}`),
    );
    assert.deepEqual(out, [
      "box",
      ...spaces,
      "CapInh:\t0000000000000000",
      "CapEff:\t00000000a80425fb",
      "Seccomp:\t2",
      out[9],
      "0",
      "1",
      "2",
      "3",
      "/tmp",
      "c",
      "0",
    ]);
    assert.match(out[9] ?? "", new RegExp(`/berth/${container.id}$`));
  });

  it("hands back its exit code, and failures as 126 and 127", async () => {
    await using container = await containers.start({ args: ["sleep", "1000"] });
    assert.equal((await containers.exec(container, { args: ["sh", "-c", "exit 9"] })).exitCode, 9);
    await assert.rejects(containers.exec(container, { args: ["nosuch"] }), LaunchError);
    await assert.rejects(
      containers.exec(container, { args: ["true"], cwd: "/no/such" }),
      /chdir to cwd \("\/no\/such"\)/,
    );
  });

  it("is not waited for by what it leaves behind", async () => {
    await using container = await containers.start({ args: ["sleep", "1000"] });
    const { exitCode } = await containers.exec(container, { args: ["sh", "-c", "sleep 900 & exit 3"] });
    assert.equal(exitCode, 3);
    assert.equal(containerProcesses(containers.cgroups, container.id).length, 2);
  });

  it("has a terminal of the container's own", async () => {
    await using container = await containers.start({ args: ["sleep", "1000"] });
    const { exitCode } = await containers.exec(
      container,
      { args: ["sh", "-c", "tty > /out; stty size >> /out; [ -t 1 ]"] },
      (launch) => {
        launch.stdio = { ...launch.stdio, terminal: true, openStdin: true, rows: 20, columns: 40 };
      },
    );
    assert.equal(exitCode, 0);
    const out = readFileSync(`${containers.directory}/${container.id}/upper/out`, "utf8");
    assert.equal(out, "/dev/pts/0\n20 40\n");
  });
});

describe("control groups", () => {
  it("stop and continue a container", async () => {
    await using container = await containers.start({ args: ["sleep", "1000"] });
    await freeze(containers.cgroups, container.id);
    assert.match(
      readFileSync(`/sys/fs/cgroup/freezer/berth/${container.id}/freezer.state`, "utf8"),
      /FROZEN/,
    );
    await thaw(containers.cgroups, container.id);
    assert.match(
      readFileSync(`/sys/fs/cgroup/freezer/berth/${container.id}/freezer.state`, "utf8"),
      /THAWED/,
    );
  });

  it("tell that a container ran out of memory", async () => {
    await using container = await containers.start({
      args: ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"],
      spec: ({ linux }) => {
        linux.resources = { ...linux.resources, memory: { limit: 16 << 20, swap: 16 << 20 } };
      },
    });
    assert.equal((await container.exited).exitCode, 137);
    assert.ok(readOomKills(containers.cgroups, container.id) > 0);
    assert.equal(readOomKills(containers.cgroups, "nosuch"), 0);
  });

  it("lie where the configuration says", async () => {
    const parent = `berth-test-${process.pid}`;
    const path = `/${parent}/one`;
    await using container = await containers.start({
      args: ["sleep", "1000"],
      spec: ({ linux }) => {
        linux.cgroupsPath = path;
      },
    });
    assert.deepEqual(containerProcesses(containers.cgroups, path), [container.pid]);
    await container[Symbol.asyncDispose]();
    const { removeContainerCgroups } = await import("#runtime/cgroups/remove.ts");
    await removeContainerCgroups(containers.cgroups, `/${parent}/`);
    assert.ok(!existsSync(`/sys/fs/cgroup/pids/${parent}`));
  });
});

/**
 * Known ways out of a container, as far as the runtime's own command line is concerned: what a caller leaves open, what a
 * container that waits for its start holds, and what an image or a neighbour may put in the way meanwhile.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { launcherPath } from "#oci/launcher-path.ts";
import { defaultSpec } from "#runtime/default-spec.ts";
import type { Spec } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const ROUNDS = Number(process.env.BERTH_RACE_ROUNDS ?? 20);
const COMMAND = resolve(import.meta.dirname, "../../bin/berth-oci");
const APPLETS = "sh cat ls echo true readlink stat sleep mount grep find head pwd test mkdir".split(" ");

type FullSpec = Spec & Required<Pick<Spec, "process" | "linux" | "mounts">>;

let directory: string;
let count = 0;
const made: string[] = [];
before(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-mounts-escape-"));
  chmodSync(directory, 0o755);
  // Whatever has to be built is built now.
  oci(["--version"]);
});
afterEach(() => {
  for (const id of made.splice(0)) oci(["delete", "-f", id]);
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** The command's words, for a shell that opens descriptors first. */
function words(args: string[]): string[] {
  return [COMMAND, "--root", join(directory, "state"), ...args];
}

function oci(args: string[]) {
  const [program = "", ...rest] = words(args);
  const { status, stdout, stderr } = spawnSync(program, rest, { encoding: "utf8", timeout: 60_000 });
  return { status, output: stdout, error: stderr };
}

/** For what stays behind and would keep the streams open. */
function quietly(args: string[], before = "") {
  const file = join(directory, `error-${count++}`);
  const line = `${before} exec "$@" </dev/null >/dev/null 2>${file}`;
  const { status } = spawnSync("bash", ["-c", line, "bash", ...words(args)], { stdio: "ignore" });
  return { status, error: readFileSync(file, "utf8") };
}

interface Bundle {
  id: string;
  path: string;
  rootfs: string;
}

function bundle(change: (spec: FullSpec, rootfs: string) => void): Bundle {
  const id = `escape${process.pid}x${count++}`;
  const path = join(directory, id);
  const rootfs = join(path, "rootfs");
  for (const name of ["bin", "proc", "sys", "dev", "etc", "tmp"]) {
    mkdirSync(join(rootfs, name), { recursive: true });
  }
  copyFileSync("/bin/busybox", join(rootfs, "bin/busybox"));
  for (const applet of APPLETS) symlinkSync("busybox", join(rootfs, "bin", applet));
  const spec = defaultSpec({
    architecture: process.arch === "arm64" ? "arm64" : "x64",
    kernelRelease: "6.1.0",
  });
  spec.process.args = ["sleep", "1000"];
  change(spec, rootfs);
  writeFileSync(join(path, "config.json"), JSON.stringify(spec));
  made.push(id);
  return { id, path, rootfs };
}

const script = (text: string) => ["sh", "-c", text];
const start = (made: Bundle) => assert.equal(oci(["start", made.id]).status, 0);

function create(change: (spec: FullSpec, rootfs: string) => void, openBefore?: string): Bundle {
  const made = bundle(change);
  const { status, error } = quietly(["create", "-b", made.path, made.id], openBefore);
  assert.equal(status, 0, error);
  return made;
}

/** Runs to the end. */
function run(change: (spec: FullSpec, rootfs: string) => void) {
  const { id, path, rootfs } = bundle(change);
  return { ...oci(["run", "-b", path, id]), rootfs };
}

const pidOf = ({ id }: Bundle) => Number(JSON.parse(oci(["state", id]).output).pid);

/** What is behind a process' descriptors. */
function descriptors(pid: number): Record<string, string> {
  const entries = readdirSync(`/proc/${pid}/fd`).map((fd) => [fd, readlinkSync(`/proc/${pid}/fd/${fd}`)]);
  return Object.fromEntries(entries) as Record<string, string>;
}

/** An attacker who owns a directory: exchanges two names in it until told to stop. */
function exchange(where: string, name: string, other: string): ChildProcess {
  const program = join(import.meta.dirname, "exchange-names.ts");
  return spawn(process.execPath, [program, where, name, other], { stdio: "inherit" });
}

describe("a container's first process", () => {
  it("holds no descriptor of the host's, be it waiting or running, whatever the caller had open", () => {
    const made = create(() => undefined, "exec 3</ 9</etc 40</ 41>/dev/null;");
    const pid = pidOf(made);
    const { 0: stdin, 1: stdout, 2: stderr, ...waiting } = descriptors(pid);
    assert.deepEqual([stdin, stdout], ["/dev/null", "/dev/null"]);
    assert.match(stderr ?? "", /error-/);
    // What it waits on, and nothing else: a socket, that leads nowhere.
    assert.equal(Object.keys(waiting).length, 1, JSON.stringify(waiting));
    assert.match(Object.values(waiting)[0] ?? "", /^socket:/);
    start(made);
    assert.equal(readlinkSync(`/proc/${pid}/exe`), "/bin/busybox");
    assert.deepEqual(Object.keys(descriptors(pid)), ["0", "1", "2"]);
  });

  it("holds only what is read after the start where there are hooks, and closes that too", () => {
    const made = create((spec) => {
      spec.hooks = { startContainer: [{ path: "/bin/busybox", args: ["true"] }] };
      spec.process.noNewPrivileges = true;
    });
    const pid = pidOf(made);
    const held = Object.entries(descriptors(pid)).filter(([fd]) => Number(fd) > 2);
    assert.equal(held.length, 2, JSON.stringify(held));
    assert.match(held.map(([, target]) => target).join(), /socket:.*hook-created\.json/);
    start(made);
    assert.deepEqual(Object.keys(descriptors(pid)), ["0", "1", "2"]);
  });

  it("gets no descriptor through an exec either", () => {
    const made = create(() => undefined);
    start(made);
    const line = `exec 5</ 33</etc; exec "$@"`;
    const args = words(["exec", made.id, "sh", "-c", "ls /proc/$$/fd; true"]);
    const { stdout } = spawnSync("bash", ["-c", line, "bash", ...args], { encoding: "utf8" });
    assert.deepEqual(stdout.trim().split("\n"), ["0", "1", "2"]);
  });

  it("can neither begin in a directory of the host nor run a program of it through a descriptor", () => {
    const evil = join(directory, "evil");
    writeFileSync(evil, `#!/bin/sh\ntouch ${directory}/escaped\n`);
    chmodSync(evil, 0o755);
    const running = create(() => undefined);
    start(running);
    for (let fd = 3; fd < 11; fd++) {
      const through = `/proc/self/fd/${fd}`;
      const cwd = run((spec) => {
        spec.process.cwd = through;
        spec.process.args = ["pwd"];
      });
      assert.notEqual(cwd.status, 0, `cwd ${through}: ${cwd.output}`);
      assert.match(cwd.error, /working directory|chdir/);
      const program = run((spec) => {
        spec.process.args = [`${through}${evil}`];
      });
      assert.notEqual(program.status, 0, `args ${through}: ${program.output}`);
      const byExec = oci(["exec", "--cwd", through, running.id, "pwd"]);
      assert.notEqual(byExec.status, 0, `exec in ${through}: ${byExec.output}`);
      const program2 = oci(["exec", running.id, `${through}${evil}`]);
      assert.notEqual(program2.status, 0);
    }
    const linked = run((spec, rootfs) => {
      symlinkSync("/proc/self/fd/4", join(rootfs, "here"));
      spec.process.cwd = "/here";
    });
    assert.notEqual(linked.status, 0);
    assert.ok(!existsSync(join(directory, "escaped")));
  });

  it("cannot be looked into by a neighbour in its pid namespace while it waits, nor its program be written to", () => {
    const hash = () => createHash("sha256").update(readFileSync(launcherPath())).digest("hex");
    const before = hash();
    const neighbour = create(() => undefined);
    start(neighbour);
    const pid = pidOf(neighbour);
    const victim = create((spec) => {
      spec.process.noNewPrivileges = true;
      const own = spec.linux.namespaces?.find(({ type }) => type === "pid");
      if (own) own.path = `/proc/${pid}/ns/pid`;
    });
    const inside = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${pidOf(victim)}/status`, "utf8"))?.[1];
    const look = `p=/proc/${inside}; [ -d $p ] && echo there; (: < $p/fd/3) 2>&1; ls $p/root/ 2>&1; head -c 1 $p/environ 2>&1
      (echo x > $p/exe) 2>&1; (echo x > $p/mem) 2>&1; for l in fd/0 fd/3 exe cwd root; do readlink $p/$l; done; true`;
    const { output } = oci(["exec", neighbour.id, ...script(look)]);
    const [there, ...rest] = output.trim().split("\n");
    assert.equal(there, "there");
    assert.equal(rest.length, 5, output);
    for (const line of rest) assert.match(line, /denied|not permitted/i);
    assert.equal(hash(), before);
  });

  it("cannot be the launcher in a form that can be written to", () => {
    const before = readFileSync(launcherPath());
    const itself = run((spec) => {
      spec.process.args = ["/proc/self/exe", "version"];
    });
    assert.equal(itself.output, "1\n");
    // Somebody who can do everything looks at each process that comes by, and keeps hold of its program.
    const made = create((spec) => {
      spec.process.args = script(`while true; do for p in /proc/[0-9]*; do
        e=$(readlink $p/exe) && case $e in /bin/busybox) ;; *) echo "$e" >> /seen; exec 7<$p/exe && (echo x > /proc/self/fd/7) 2>/dev/null && echo wrote >> /wrote; exec 7<&-;; esac
      done; done`);
      for (const set of ["bounding", "effective", "permitted"] as const) {
        spec.process.capabilities?.[set]?.push("CAP_SYS_PTRACE");
      }
      delete spec.linux.seccomp;
    });
    start(made);
    for (let round = 0; round < 15; round++) oci(["exec", made.id, "true"]);
    for (let round = 0; round < 3; round++) oci(["exec", made.id, "/proc/self/exe", "version"]);
    assert.ok(!existsSync(join(made.rootfs, "wrote")));
    const seen = existsSync(join(made.rootfs, "seen"))
      ? readFileSync(join(made.rootfs, "seen"), "utf8").trim().split("\n")
      : [];
    for (const program of seen) assert.match(program, /^\/memfd:berth-launcher \(deleted\)$/);
    assert.deepEqual(readFileSync(launcherPath()), before);
  });
});

describe("a neighbour who exchanges names while a container is made", () => {
  let attacker: ChildProcess | undefined;
  afterEach(async () => {
    const ended = new Promise((resolve) => attacker?.once("exit", resolve));
    assert.equal(attacker?.exitCode, null, "the attacker was still at work");
    attacker?.kill("SIGKILL");
    await ended;
  });
  const trapped = join.bind(undefined, "/proc/sys/kernel/core_pattern");
  const pattern = readFileSync(trapped(), "utf8");
  const atWork = (program: ChildProcess) =>
    eventually(() => assert.match(readFileSync(`/proc/${program.pid}/stat`, "utf8"), / R /));

  it("never has a mount made outside of the root", async () => {
    const outside = join(directory, "outside");
    const volume = join(directory, "volume");
    mkdirSync(outside);
    mkdirSync(join(volume, "way"), { recursive: true });
    symlinkSync(`../../../../../../../../..${outside}`, join(volume, "trap"));
    attacker = exchange(volume, "way", "trap");
    await atWork(attacker);
    for (let round = 0; round < ROUNDS; round++) {
      run((spec) => {
        spec.process.args = ["true"];
        spec.mounts.push(
          { destination: "/vol", source: volume, options: ["rbind"] },
          { destination: `/vol/way/d${round}/deep`, type: "tmpfs", source: "tmpfs" },
        );
      });
      assert.deepEqual(readdirSync(outside), [], `round ${round}`);
    }
  });

  it("never chooses what masks a path", async () => {
    const volume = join(directory, "null-volume");
    mkdirSync(volume);
    spawnSync("mknod", [join(volume, "null"), "c", "1", "3"]);
    symlinkSync(trapped(), join(volume, "trap"));
    attacker = exchange(volume, "null", "trap");
    await atWork(attacker);
    for (let round = 0; round < ROUNDS; round++) {
      const { output, error } = run((spec) => {
        const rest = spec.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
        spec.mounts = [...rest, { destination: "/dev", source: volume, options: ["bind"] }];
        spec.linux.maskedPaths = ["/proc/keys", "/proc/timer_list", "/etc/hidden"];
        spec.process.args = script(
          "stat -c %t:%T /proc/keys /proc/timer_list; grep -c core_pattern /proc/self/mountinfo",
        );
      });
      assert.equal(output, "1:3\n1:3\n0\n", error);
    }
  });

  it("never chooses what the console covers", async () => {
    const name = bundle(() => undefined);
    const { rootfs } = name;
    mkdirSync(join(rootfs, "dev/pts"));
    writeFileSync(join(rootfs, "dev/console"), "");
    symlinkSync(trapped(), join(rootfs, "dev/trap"));
    attacker = exchange(join(rootfs, "dev"), "console", "trap");
    await atWork(attacker);
    let started = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { status, output, error } = run((spec) => {
        spec.root = { path: rootfs };
        spec.mounts = spec.mounts.filter(({ destination }) => !/^\/dev(\/shm|\/mqueue)?$/.test(destination));
        spec.process.terminal = true;
        spec.process.args = script(
          // The attacker may have renamed it since.
          "grep -c core_pattern /proc/self/mountinfo; grep -c -E ' /dev/(console|trap) ' /proc/self/mountinfo",
        );
      });
      if (status === 0 || output !== "") {
        started++;
        assert.equal(output.replaceAll("\r", ""), "0\n1\n", error);
      } else assert.match(error, /\/dev\/console/);
      assert.equal(readFileSync(trapped(), "utf8"), pattern);
    }
    console.log(`${started} of ${ROUNDS} started`);
  });

  it("never has a setting written to another file than the one that is meant", async () => {
    const bait = join(directory, "bait");
    writeFileSync(bait, "bait");
    const { rootfs } = bundle(() => undefined);
    const fake = join(rootfs, "false-proc/sys/net/ipv4");
    mkdirSync(fake, { recursive: true });
    symlinkSync(bait, join(fake, "ip_unprivileged_port_start"));
    mkdirSync(join(rootfs, "false-proc/self/attr"), { recursive: true });
    symlinkSync("/false-proc", join(rootfs, "trap"));
    attacker = exchange(rootfs, "proc", "trap");
    await atWork(attacker);
    let started = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const withProc = round % 2 === 0;
      const { output, error } = run((spec) => {
        spec.root = { path: rootfs };
        if (!withProc) spec.mounts = spec.mounts.filter(({ type }) => type !== "proc");
        spec.mounts.push({ destination: "/settings", type: "proc", source: "proc" });
        spec.linux.sysctl = { "net.ipv4.ip_unprivileged_port_start": "77" };
        spec.linux.maskedPaths = [];
        spec.linux.readonlyPaths = [];
        spec.process.args = ["cat", "/settings/sys/net/ipv4/ip_unprivileged_port_start"];
      });
      if (output !== "") started++;
      if (output !== "" || !withProc) assert.equal(output, "77\n", error);
      else assert.match(error, /mount point \/proc/);
      assert.equal(readFileSync(bait, "utf8"), "bait");
    }
    assert.ok(started >= ROUNDS / 2);
  });
});

describe("control groups", () => {
  const onV1 = readFileSync("/proc/self/mountinfo", "utf8").includes(" - cgroup ");

  it("shown writable have no file by which the host runs a program", { skip: !onV1 }, () => {
    for (const own of [false, true]) {
      const { output, error, status } = run((spec) => {
        if (own) spec.linux.namespaces?.push({ type: "cgroup" });
        const mount = spec.mounts.find(({ type }) => type === "cgroup");
        assert.ok(mount);
        mount.options = ["rw", "nosuid", "noexec", "nodev"];
        spec.process.args = script(
          `find /sys -name release_agent; [ -w /sys/fs/cgroup/pids/notify_on_release ] && echo writable
          mkdir /tmp/c; for o in pids none,name=x; do mount -t cgroup -o $o none /tmp/c 2>/dev/null && echo mounted; done; true`,
        );
      });
      assert.equal(status, 0, error);
      assert.equal(output, "writable\n");
    }
  });

  it("cannot be the hierarchy's own root", () => {
    for (const path of ["/", "/..", "/../..", "/a/../.."]) {
      const { status, error } = run((spec) => {
        spec.linux.cgroupsPath = path;
        spec.process.args = ["true"];
      });
      assert.equal(status, 1, path);
      assert.match(error, /cgroup/);
    }
  });
});

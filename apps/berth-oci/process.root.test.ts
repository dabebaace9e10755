/** What the command line adds to a process or passes on of it: descriptors, notifications, warnings, refusals. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { syscallNumber } from "#program/syscall-numbers.ts";
import type { Spec, SpecSeccomp } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

type FullSpec = Spec & Required<Pick<Spec, "process" | "linux">>;

const main = join(import.meta.dirname, "main.ts");
const FIXTURES = join(import.meta.dirname, "../../test/fixtures");
let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-oci-process-"));
  mkdirSync(join(directory, "rootfs/bin"), { recursive: true });
  copyFileSync("/bin/busybox", join(directory, "rootfs/bin/busybox"));
  for (const name of ["sh", "cat", "ls", "env", "grep", "sleep", "id"])
    symlinkSync("busybox", join(directory, "rootfs/bin", name));
  for (const [name, source] of Object.entries({
    "rootfs/bin/probe": "raw-syscalls.c",
    agent: "seccomp-agent.c",
  }))
    execFileSync("gcc", ["-O1", "-static", "-o", join(directory, name), join(FIXTURES, source)]);
});
after(() => rmSync(directory, { recursive: true, force: true }));

interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Streams are files: what a container holds open keeps nobody waiting. */
function oci(args: readonly string[], options: { files?: string[]; listen?: string } = {}): Ran {
  const out = ["out", "err"].map((name) => join(directory, name));
  const descriptors = [
    ...out.map((path) => openSync(path, "w")),
    ...(options.files ?? []).map((path) => openSync(path, "r")),
  ];
  const command = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    main,
    "--root",
    join(directory, "state"),
  ];
  // Only the shell knows what its own pid will be after exec.
  const listening = options.listen ? `LISTEN_PID=$$ LISTEN_FDS=${options.listen} LISTEN_FDNAMES=web ` : "";
  const ran = spawnSync("sh", ["-c", `${listening}exec "$0" "$@"`, ...command, ...args], {
    cwd: directory,
    stdio: ["ignore", ...descriptors],
    timeout: 30_000,
  });
  for (const descriptor of descriptors) closeSync(descriptor);
  const [stdout = "", stderr = ""] = out.map((path) => readFileSync(path, "utf8"));
  return { status: ran.status, stdout, stderr };
}

function configure(change: (spec: FullSpec) => void): void {
  const path = join(directory, "config.json");
  rmSync(path, { force: true });
  assert.equal(oci(["spec"]).status, 0);
  const spec = JSON.parse(readFileSync(path, "utf8")) as FullSpec;
  spec.process.terminal = false;
  change(spec);
  writeFileSync(path, JSON.stringify(spec));
}

const script = (text: string) => (spec: FullSpec) => {
  spec.process.args = ["sh", "-c", text];
};

describe("descriptors", () => {
  const file = (name: string) => {
    writeFileSync(join(directory, name), `${name}\n`);
    return join(directory, name);
  };

  it("that are asked for come along, others do not", () => {
    configure(script("cat <&3; cat <&4; ls /proc/self/fd"));
    const files = [file("three"), file("four")];
    const both = oci(["run", "--preserve-fds", "2", "both"], { files });
    assert.match(both.stdout, /^three\nfour\n0\n1\n2\n3\n4\n5\n$/);
    const one = oci(["run", "--preserve-fds", "1", "one"], { files });
    assert.match(one.stdout, /^three\n0\n1\n2\n3\n4\n$/);
    assert.match(one.stderr, /Bad file descriptor|can't open|bad fd/i);
  });

  it("that are not there are an error, before anything is made", () => {
    configure(script("true"));
    for (const [count, files] of [
      ["1", []],
      ["2", [file("three")]],
    ] as const) {
      const { status, stderr } = oci(["run", "--preserve-fds", count, "missing"], { files: [...files] });
      assert.equal(status, 1);
      assert.match(stderr, /unable to stat preserved-fd \d \(of \d\)/);
    }
    assert.deepEqual(readdirSync(join(directory, "state")), []);
  });

  it("of a service manager are announced to the first process, and to no other", () => {
    configure(script("cat <&3; cat <&4; env | grep ^LISTEN; cat"));
    const files = [file("three"), file("four")];
    const { stdout } = oci(["run", "--preserve-fds", "1", "service"], { files, listen: "1" });
    assert.equal(stdout, "three\nfour\nLISTEN_FDS=1\nLISTEN_PID=1\nLISTEN_FDNAMES=web\n");
    configure(script("sleep 1000"));
    assert.equal(oci(["run", "-d", "running"], { files, listen: "1" }).status, 0);
    const inExec = oci(
      ["exec", "--preserve-fds", "1", "running", "sh", "-c", "cat <&3; env | grep -c LISTEN"],
      { files },
    );
    assert.equal(inExec.stdout, "three\n0\n");
    assert.equal(oci(["delete", "-f", "running"]).status, 0);
  });

  it("are nothing that a hook gets", () => {
    configure((spec) => {
      spec.process.args = ["cat", "/seen"];
      spec.root = { path: "rootfs" };
      const args = ["sh", "-c", "ls /proc/self/fd > /seen"];
      spec.hooks = { startContainer: [{ path: "/bin/sh", args, env: ["PATH=/bin"] }] };
    });
    assert.equal(
      oci(["run", "--preserve-fds", "1", "hooked"], { files: [file("three")] }).stdout,
      "0\n1\n2\n3\n",
    );
  });
});

describe("warnings and refusals", () => {
  it("are a line each", () => {
    configure((spec) => {
      script("echo ran")(spec);
      spec.linux.personality = { domain: "LINUX", flags: ["SOME"] };
    });
    const warned = oci(["run", "warned"]);
    assert.equal(warned.stdout, "ran\n");
    assert.match(
      warned.stderr,
      /^time="[^"]+" level=warning msg="linux\.personality\.flags: ignoring .*SOME"\n$/,
    );
    const refused = (change: (spec: FullSpec) => void, message: RegExp) => {
      configure((spec) => {
        script("true")(spec);
        change(spec);
      });
      const { status, stdout, stderr } = oci(["run", "refused"]);
      assert.deepEqual([status, stdout], [1, ""]);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split("\n").length, 1, stderr);
      assert.ok(!existsSync(join(directory, "state/refused")));
      assert.ok(!existsSync("/sys/fs/cgroup/pids/berth/refused"));
    };
    refused((spec) => {
      spec.process.capabilities = { bounding: ["CAP_NOSUCH"] };
    }, /process\.capabilities\.bounding: unknown capability/);
    refused((spec) => {
      Object.assign(spec.process, { args: "sh" });
    }, /process\.args: must be a list/);
    refused((spec) => {
      Object.assign(spec.process, { env: { A: "b" } });
    }, /process\.env: must be a list/);
    refused((spec) => {
      spec.process.rlimits = [{ type: "RLIMIT_NOFILE", soft: -1, hard: 5 }];
    }, /process\.rlimits\[0\]/);
    refused((spec) => {
      spec.process.scheduler = { policy: "SCHED_OTHER", nice: 20 };
    }, /process\.scheduler\.nice/);
    refused((spec) => {
      spec.linux.intelRdt = {};
    }, /linux\.intelRdt is specified in config/);
    refused((spec) => {
      spec.linux.sysctl = { "net.ipv4.ip_forward": "1" };
      for (const one of spec.linux.namespaces ?? [])
        if (one.type === "network") one.path = "/proc/self/ns/net";
    }, /net\.ipv4\.ip_forward\\" not allowed in host network namespace/);
  });
});

describe("notification", () => {
  let agent: ChildProcess;
  let printed = "";
  let socket: string;
  before(async () => {
    socket = join(directory, "agent.sock");
    agent = spawn(join(directory, "agent"), [socket, String(MKDIRAT), "42"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    agent.stdout?.on("data", (chunk: Buffer) => {
      printed += chunk;
    });
    await eventually(() => assert.match(printed, /listening/));
  });
  after(() => agent.kill());
  const MKDIRAT = syscallNumber("mkdirat", process.arch === "arm64" ? "arm64" : "x64");
  const probe = ["probe", `${process.arch}:${MKDIRAT}:`];
  const notify: SpecSeccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [
      { names: ["mkdirat", "openat", "execve"], action: "SCMP_ACT_NOTIFY" },
      // More than a number holds, and it has to be told from its neighbours after a way through the state's file.
      {
        names: ["getppid"],
        action: "SCMP_ACT_ERRNO",
        errnoRet: 7,
        args: [{ index: 0, value: 4, op: "SCMP_CMP_EQ" }],
      },
    ],
  };
  const configureAgent = (args: string[]) => {
    configure((spec) => {
      spec.process.args = args;
      spec.annotations = { some: "thing" };
      spec.linux.seccomp = { ...notify, listenerPath: socket, listenerMetadata: "meta" };
    });
    const path = join(directory, "config.json");
    writeFileSync(path, readFileSync(path, "utf8").replace('"value":4,', '"value":18446744073709551615,'));
  };
  const states = () =>
    printed
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line));

  it("begins with the creation, and goes on for what exec starts", async () => {
    configureAgent(["sleep", "1000"]);
    assert.equal(oci(["create", "--pid-file", "pid", "asked"]).status, 0);
    const pid = Number(readFileSync(join(directory, "pid"), "utf8"));
    await eventually(() => assert.equal(states().length, 1));
    const { ociVersion, ...state } = states()[0];
    assert.deepEqual(state, {
      fds: ["seccompFd"],
      pid,
      metadata: "meta",
      state: {
        ociVersion,
        id: "asked",
        status: "creating",
        pid,
        bundle: directory,
        annotations: { some: "thing" },
      },
    });
    assert.equal(oci(["start", "asked"]).status, 0);
    const abi = process.arch;
    const number = syscallNumber("getppid", abi === "arm64" ? "arm64" : "x64");
    const wide = ["18446744073709551615", "18446744073709551614", "0"].map(
      (value) => `${abi}:${number}:${value}`,
    );
    const { stdout } = oci(["exec", "asked", ...probe, ...wide]);
    assert.equal(stdout, "-42\n-7\n0\n0\n");
    await eventually(() => assert.equal(states().length, 2));
    assert.equal(states()[1].state.status, "running");
    assert.equal(states()[1].state.pid, pid);
    assert.notEqual(states()[1].pid, pid);
    assert.equal(oci(["delete", "-f", "asked"]).status, 0);
  });

  it("works for ordinary users, whose child sends the listener itself", async () => {
    const own = join(directory, "own");
    mkdirSync(join(own, "rootfs/bin"), { recursive: true });
    copyFileSync(join(directory, "rootfs/bin/probe"), join(own, "rootfs/bin/probe"));
    for (const name of ["proc", "dev", "sys"]) mkdirSync(join(own, "rootfs", name));
    // Nobody has any ranges of ids: one user, one group.
    const NOBODY = 65_534;
    for (const path of [own, ...readdirSync(own, { recursive: true }).map((name) => join(own, String(name)))])
      chownSync(path, NOBODY, NOBODY);
    chmodSync(directory, 0o755);
    chmodSync(socket, 0o777);
    const run = (...args: string[]) =>
      spawnSync(
        process.execPath,
        ["--disable-warning=ExperimentalWarning", main, "--root", join(own, "state"), ...args],
        {
          cwd: own,
          uid: NOBODY,
          gid: NOBODY,
          encoding: "utf8",
          env: { PATH: process.env.PATH },
          timeout: 30_000,
        },
      );
    assert.equal(run("spec", "--rootless").status, 0);
    const path = join(own, "config.json");
    const spec = JSON.parse(readFileSync(path, "utf8")) as FullSpec;
    Object.assign(spec.process, { terminal: false, args: probe });
    spec.linux.seccomp = { ...notify, listenerPath: socket };
    writeFileSync(path, JSON.stringify(spec));
    const { status, stdout, stderr } = run("run", "nobodys");
    assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: "-42\n", stderr: "" });
    await eventually(() => assert.equal(states().at(-1)?.state.id, "nobodys"));
    spec.linux.seccomp.syscalls = [{ names: ["sendmsg"], action: "SCMP_ACT_NOTIFY" }];
    writeFileSync(path, JSON.stringify(spec));
    assert.match(
      run("run", "nobodys").stderr,
      /cannot be used for the sendmsg syscall without root's rights/,
    );
  });

  it("has nothing left of a container whose agent is not there", () => {
    configureAgent(probe);
    const path = join(directory, "config.json");
    writeFileSync(path, readFileSync(path, "utf8").replace("agent.sock", "nosuch.sock"));
    const { status, stderr } = oci(["run", "deaf"]);
    assert.equal(status, 1);
    assert.match(stderr, /connect to the seccomp agent at .*nosuch\.sock: no such file or directory/);
    assert.ok(!existsSync(join(directory, "state/deaf")));
    assert.ok(!existsSync("/sys/fs/cgroup/pids/berth/deaf"));
  });
});

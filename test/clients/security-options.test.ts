/**
 * `--security-opt` in all its forms, and options of `docker run` that a kernel or a machine may not have, by the real docker
 * command line: what they do is looked at from inside.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { type Ran, TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const skip = process.geteuid?.() !== 0 ? "needs root" : dockerCliMissing();
const IMAGE = "berth/busybox";

function succeeded({ code, stdout, stderr }: Ran): string {
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

describe("security options", { skip }, () => {
  let daemon: TestDaemon;
  const docker = (...args: string[]) => succeeded(daemon.docker(...args));
  const run = (options: string[], ...command: string[]) =>
    docker("run", "--rm", "--network", "none", ...options, IMAGE, ...command);
  const secured = (option: string, ...command: string[]) => run(["--security-opt", option], ...command);
  /** What the daemon says to it, be it at the creation or the start. */
  const refusal = (...options: string[]) => {
    const { code, stderr } = daemon.docker("run", "--rm", "--network", "none", ...options, IMAGE, "true");
    assert.equal(code, 125, stderr);
    return /^docker: (?:Error response from daemon: )?(.*)$/m.exec(stderr)?.[1];
  };
  const status = (field: string) => ["sed", "-n", `s/^${field}:\t//p`, "/proc/self/status"];
  const profile = (name: string, content: object) => {
    const path = join(daemon.directory, name);
    writeFileSync(path, JSON.stringify(content));
    return path;
  };

  before(async () => {
    daemon = await TestDaemon.start({ subnet: 87 });
    daemon.loadBusybox();
  });
  after(() => daemon?.stop());

  for (const [option, expected] of [
    ["no-new-privileges", "1"],
    ["no-new-privileges:true", "1"],
    ["no-new-privileges=true", "1"],
    ["no-new-privileges=1", "1"],
    ["no-new-privileges:false", "0"],
    ["no-new-privileges=false", "0"],
  ] as const) {
    test(option, () => assert.equal(secured(option, ...status("NoNewPrivs")), expected));
  }

  test("without new privileges a set-user-id program changes nothing", () => {
    const program = join(daemon.directory, "probe");
    const source = resolve(import.meta.dirname, "../fixtures/raw-syscalls.c");
    const compiled = spawnSync("cc", ["-static", "-o", program, source], { encoding: "utf8" });
    assert.equal(compiled.status, 0, compiled.stderr);
    chownSync(program, 7, 7);
    chmodSync(program, 0o4755);
    const geteuid = process.arch === "arm64" ? "arm64:175:0" : "x64:107:0";
    const probe = ["-u", "1000", "-v", `${program}:/probe`];
    const effective = (...options: string[]) =>
      /(\d+)\s*$/.exec(run([...probe, ...options], "/probe", geteuid))?.[1];
    assert.equal(effective(), "7");
    assert.equal(effective("--security-opt", "no-new-privileges"), "1000");
  });

  test("seccomp: the built-in profile, none, and one's own", () => {
    assert.equal(run([], ...status("Seccomp")), "2");
    assert.equal(secured("seccomp=builtin", ...status("Seccomp")), "2");
    for (const option of ["seccomp=unconfined", "seccomp:unconfined"]) {
      assert.equal(secured(option, ...status("Seccomp")), "0", option);
    }
    const path = profile("no-mkdir", {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 5 }],
    });
    const script = "mkdir /x 2>&1; touch /y && echo made";
    const broken = "mkdir: can't create directory '/x': Input/output error\nmade";
    assert.equal(secured(`seccomp=${path}`, "sh", "-c", script), broken);
    // The last one counts, and privileged containers have what they are given by name.
    const both = ["--security-opt", "seccomp=unconfined", "--security-opt", `seccomp=${path}`];
    assert.equal(run(both, "sh", "-c", script), broken);
    assert.equal(run(["--privileged", "--security-opt", `seccomp=${path}`], "sh", "-c", script), broken);
    assert.equal(run(["--privileged"], ...status("Seccomp")), "0");
    docker(
      "run",
      "-d",
      "--name",
      "filtered",
      "--network",
      "none",
      "--security-opt",
      `seccomp=${path}`,
      IMAGE,
      "sleep",
      "1000",
    );
    for (const options of [[], ["--privileged"]]) {
      const { stderr } = daemon.docker("exec", ...options, "filtered", "mkdir", "/x");
      assert.match(stderr, /Input\/output error/, options.join());
    }
    docker("rm", "-f", "filtered");
  });

  test("seccomp: conditions on arguments and capabilities", () => {
    const path = profile("conditions", {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [
        {
          names: ["chmod", "fchmodat"],
          action: "SCMP_ACT_ERRNO",
          errnoRet: 5,
          excludes: { caps: ["CAP_SYS_TIME"] },
        },
        { names: ["umask"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value: 0o77, op: "SCMP_CMP_EQ" }] },
      ],
    });
    const chmod = (...options: string[]) =>
      run(
        ["--security-opt", `seccomp=${path}`, ...options],
        "sh",
        "-c",
        "chmod 700 /tmp 2>/dev/null && echo yes || echo no",
      );
    assert.equal(chmod(), "no");
    const known = /^CapBnd:\t([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
    // CAP_SYS_TIME is 25: where the machine's root has it.
    if ((BigInt(`0x${known}`) >> 25n) & 1n) assert.equal(chmod("--cap-add", "SYS_TIME"), "yes");
  });

  test("seccomp: what is no profile is refused, by whoever reads it", () => {
    assert.equal(
      refusal("--security-opt", "seccomp=/nosuch"),
      "opening seccomp profile (/nosuch) failed: open /nosuch: no such file or directory",
    );
    const text = join(daemon.directory, "text");
    writeFileSync(text, "{x");
    assert.match(refusal("--security-opt", `seccomp=${text}`) ?? "", /^compacting json for seccomp profile/);
    const empty = profile("empty", {});
    assert.match(refusal("--security-opt", `seccomp=${empty}`) ?? "", /Decoding seccomp profile failed/);
    const action = profile("action", { defaultAction: "SCMP_ACT_NOSUCH" });
    assert.match(refusal("--security-opt", `seccomp=${action}`) ?? "", /SCMP_ACT_NOSUCH/);
  });

  test("systempaths=unconfined: nothing hidden, nothing read-only", () => {
    const script =
      "ls /proc/acpi 2>/dev/null | wc -l; mount | grep -cE ' on /(proc|sys)/(sys|keys|acpi|firmware|bus)[ /]'";
    const [, hidden] = run([], "sh", "-c", script).split("\n");
    assert.notEqual(hidden, "0");
    assert.equal(secured("systempaths=unconfined", "sh", "-c", `${script}; true`).split("\n")[1], "0");
    const inspected =
      docker("create", "--name", "open", "--security-opt", "systempaths=unconfined", IMAGE) &&
      docker("inspect", "-f", "{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}", "open");
    assert.equal(inspected, "[] []");
    docker("rm", "open");
  });

  test("writable-cgroups", {
    skip: !existsSync("/sys/fs/cgroup/pids") && "no control groups of version 1",
  }, () => {
    const script =
      "mkdir /sys/fs/cgroup/pids/own 2>/dev/null && echo 5 >/sys/fs/cgroup/pids/own/pids.max && echo yes || echo no";
    const can = (...options: string[]) => run(options, "sh", "-c", script);
    assert.equal(can(), "no");
    assert.equal(can("--security-opt", "writable-cgroups=true"), "yes");
    assert.equal(can("--security-opt", "writable-cgroups=false"), "no");
    assert.equal(can("--privileged"), "yes");
    assert.equal(can("--privileged", "--security-opt", "writable-cgroups=false"), "no");
  });

  for (const option of ["apparmor=unconfined", "apparmor:docker-default", "label=disable", "label:type:x"]) {
    test(`${option} is taken, and shown`, () => {
      docker("create", "--name", "shown", "--security-opt", option, IMAGE);
      assert.equal(
        docker("inspect", "-f", "{{json .HostConfig.SecurityOpt}}", "shown"),
        JSON.stringify([option]),
      );
      docker("rm", "shown");
      assert.equal(secured(option, "echo", "ran"), "ran");
    });
  }

  for (const option of [
    ...["no-new-privileges:x", "no-new-privileges=", "systempaths=x", "writable-cgroups=x"],
    ...["bogus=x", "credentialspec=x", "=x"],
  ]) {
    test(`${option} is refused`, () => {
      assert.equal(refusal("--security-opt", option), `invalid --security-opt 2: ${JSON.stringify(option)}`);
    });
  }
  for (const option of ["bogus", "label", "label=", "seccomp=", "writable-cgroups", ""]) {
    test(`${JSON.stringify(option)} is refused by the command line`, () => {
      assert.equal(refusal("--security-opt", option), `Invalid --security-opt: ${JSON.stringify(option)}`);
    });
  }
});

describe("what the kernel or the machine may not have", { skip }, () => {
  const parent = `berth-rt-${process.pid}`;
  let daemon: TestDaemon;
  const docker = (...args: string[]) => succeeded(daemon.docker(...args));
  const message = ({ code, stderr }: Ran) => {
    assert.notEqual(code, 0);
    return /^(?:docker: )?Error response from daemon: (.*)$/m.exec(stderr)?.[1];
  };

  before(async () => {
    daemon = await TestDaemon.start({ subnet: 88 });
    daemon.loadBusybox();
  });
  after(() => daemon?.stop());

  test("--gpus: the container is made, and does not start", () => {
    docker("create", "--name", "gpu", "--gpus", "all", IMAGE, "true");
    const text = 'could not select device driver "" with capabilities: [[gpu]]';
    assert.equal(message(daemon.docker("start", "gpu")), text);
    assert.equal(docker("inspect", "-f", "{{.State.Status}} {{.State.Error}}", "gpu"), `created ${text}`);
    docker("rm", "gpu");
    const named = daemon.docker("run", "--rm", "--gpus", "driver=nvidia,capabilities=compute", IMAGE, "true");
    assert.equal(
      message(named),
      'could not select device driver "nvidia" with capabilities: [[compute gpu]]',
    );
    assert.equal(named.code, 125);
  });

  test("--storage-opt: sizes need quotas that there are not", () => {
    const tried = (option: string) => message(daemon.docker("create", "--storage-opt", option, IMAGE));
    assert.match(
      tried("size=1G") ?? "",
      /^--storage-opt is supported only for overlay over xfs with 'pquota' mount option \(or ext4 with 'prjquota'\): \/.* is on \w+/,
    );
    assert.equal(tried("bogus=1"), "Unknown option bogus");
  });

  test("--kernel-memory: of older versions, warned of and without effect", () => {
    const old = (limit: string) =>
      spawnSync("docker", ["run", "--rm", "--network", "none", "--kernel-memory", limit, IMAGE, "true"], {
        env: { ...daemon.environment, DOCKER_API_VERSION: "1.41" },
        encoding: "utf8",
      }).stderr;
    assert.match(old("64m"), /^WARNING: Specifying a kernel memory limit is deprecated/);
    assert.match(old("1m"), /Minimum kernel memory limit allowed is 6MB/);
  });

  const cpu = "/sys/fs/cgroup/cpu";
  const shares = existsSync(`${cpu}/cpu.rt_runtime_us`);

  test("--cpu-rt-runtime on a kernel without", { skip: shares && "this kernel has it" }, () => {
    const text = "Your kernel does not support CPU real-time scheduler";
    assert.equal(message(daemon.docker("create", "--cpu-rt-runtime", "1000", IMAGE)), text);
    assert.equal(message(daemon.docker("create", "--cpu-rt-period", "1000", IMAGE)), text);
  });

  test("--cpu-rt-runtime lets a container's processes be real-time ones", {
    skip: !shares && "not with this kernel",
  }, async () => {
    const tried = daemon.docker("create", "--cpu-rt-period", "1000", "--cpu-rt-runtime", "1001", IMAGE);
    assert.equal(message(tried), "cpu real-time runtime cannot be higher than cpu real-time period");
    mkdirSync(join(cpu, parent));
    try {
      writeFileSync(join(cpu, parent, "cpu.rt_runtime_us"), "100000");
      const sleeper = (name: string, ...options: string[]) => {
        docker(
          "run",
          "-d",
          "--name",
          name,
          "--network",
          "none",
          "--cgroup-parent",
          `/${parent}`,
          ...options,
          IMAGE,
          "sleep",
          "1000",
        );
        return docker("inspect", "-f", "{{.State.Pid}}", name);
      };
      const becomes = (pid: string) => spawnSync("chrt", ["-f", "-p", "5", pid]).status === 0;
      const able = spawnSync("chrt", ["-f", "5", "true"]).status === 0;
      const [with_, without] = [sleeper("with", "--cpu-rt-runtime", "50000"), sleeper("without")];
      const file = "/sys/fs/cgroup/cpu/cpu.rt_runtime_us";
      assert.deepEqual(
        [docker("exec", "with", "cat", file), docker("exec", "without", "cat", file)],
        ["50000", "0"],
      );
      if (able) assert.deepEqual([becomes(with_), becomes(without)], [true, false]);
      docker("update", "--cpu-rt-runtime", "20000", "with");
      assert.equal(docker("exec", "with", "cat", file), "20000");
      const { code } = daemon.docker(
        "run",
        "--rm",
        "--cgroup-parent",
        `/${parent}`,
        "--cpu-rt-runtime",
        "500000",
        IMAGE,
        "true",
      );
      assert.equal(code, 125, "more than there is");
    } finally {
      daemon.docker("rm", "-f", "with", "without");
      for (const name of [
        "cpu",
        "memory",
        "pids",
        "cpuset",
        "blkio",
        "devices",
        "freezer",
        "systemd",
        "cpuacct",
        "unified",
      ]) {
        const group = join("/sys/fs/cgroup", name, parent);
        // What the containers had in it goes behind the answer.
        await eventually(() => {
          if (existsSync(group)) rmdirSync(group);
        });
      }
    }
  });
});

describe("the daemon's --seccomp-profile", { skip }, () => {
  test("is for every container that asks for none, and its execs", async () => {
    const flags: string[] = [];
    const own = new TestDaemon({ subnet: 89, flags });
    const path = join(own.directory, "profile.json");
    flags.push("--seccomp-profile", path);
    writeFileSync(
      path,
      JSON.stringify({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 5 }],
      }),
    );
    try {
      await own.boot();
      own.loadBusybox();
      assert.match(
        succeeded(own.docker("info", "-f", "{{.SecurityOptions}}")),
        new RegExp(`name=seccomp,profile=${path}`),
      );
      succeeded(own.docker("run", "-d", "--name", "kept", "--network", "none", IMAGE, "sleep", "1000"));
      const tried = (...options: string[]) => own.docker("exec", ...options, "kept", "mkdir", "/x").stderr;
      assert.match(tried(), /Input\/output error/);
      const plain = own.docker(
        "run",
        "--rm",
        "--network",
        "none",
        "--security-opt",
        "seccomp=builtin",
        IMAGE,
        "mkdir",
        "/x",
      );
      assert.equal(plain.code, 0, plain.stderr);
    } finally {
      await own.stop();
    }
  });
});

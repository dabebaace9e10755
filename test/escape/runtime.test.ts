/**
 * Known ways out of a container, as far as making one and entering one is concerned. Each must end with an error or
 * with something harmless inside, and the host as it was.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Containers, type RunOptions } from "#runtime/container.test-tool.ts";
import { eventually } from "#test/fixtures/eventually.ts";

/** Rounds of a race; a night's run may want more. */
const ROUNDS = Number(process.env.BERTH_RACE_ROUNDS ?? 60);

let containers: Containers;
before(() => {
  containers = new Containers();
});
after(async () => {
  await containers[Symbol.asyncDispose]();
});

/** A fresh root directory that the image's maker has prepared. */
let roots = 0;
function imageRoot(prepare: (root: string) => void): RunOptions["launch"] {
  const path = containers.makeRootfs(`image${roots++}`);
  prepare(path);
  return (launch) => {
    launch.rootfs = { kind: "directory", path };
  };
}

/** Puts a link in the place of something. */
function relink(root: string, name: string, target: string): void {
  rmSync(join(root, name), { recursive: true, force: true });
  symlinkSync(target, join(root, name));
}

const withoutMount =
  (...destinations: string[]): RunOptions["spec"] =>
  (spec) => {
    spec.mounts = spec.mounts.filter((mount) => !destinations.includes(mount.destination));
  };

describe("an image whose directories are links", () => {
  it("is refused when /proc or /sys is one", async () => {
    for (const name of ["proc", "sys"]) {
      const launch = imageRoot((root) => {
        mkdirSync(join(root, "elsewhere"));
        relink(root, name, "/elsewhere");
      });
      await assert.rejects(
        containers.run({ launch, args: ["true"] }),
        /open mount point \/(proc|sys).*ELOOP/,
        name,
      );
    }
  });

  it("cannot have devices made on the host", async () => {
    const target = join(containers.directory, "host-directory");
    mkdirSync(target);
    for (const link of [`../../../../../../../..${target}`, target]) {
      const launch = imageRoot((root) => relink(root, "dev", link));
      // The link leads nowhere inside the root: refused. Without a mount there, too.
      await assert.rejects(containers.run({ launch, args: ["true"] }), /open mount point \/dev/);
      const spec = withoutMount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue");
      await assert.rejects(containers.run({ launch, spec, args: ["true"] }), /open \/dev/);
      assert.deepEqual(readdirSync(target), []);
    }
  });

  it("gets mounts below its own root where the link leads inside", async () => {
    const launch = imageRoot((root) => {
      mkdirSync(join(root, "real"));
      relink(root, "dev", "/../../real");
    });
    assert.equal(
      await containers.shell("[ -c /real/null ] && [ -c /dev/zero ] && echo inside", { launch }),
      "inside\n",
    );
  });

  it("cannot have files of the host covered or made through a mount's destination", async () => {
    const victim = join(containers.directory, "victim");
    mkdirSync(victim);
    writeFileSync(join(victim, "file"), "untouched");
    const source = join(containers.directory, "payload");
    writeFileSync(source, "payload");
    const launch = imageRoot((root) => {
      relink(root, "etc", victim);
      symlinkSync(`../../../../../../..${victim}/file`, join(root, "link"));
    });
    for (const destination of ["/etc/file", "/etc/new/deep", "/link"]) {
      const spec: RunOptions["spec"] = ({ mounts }) => {
        mounts.push({ destination, type: "bind", source, options: ["bind"] });
      };
      await containers.run({ launch, spec, args: ["true"] }).catch(() => undefined);
      assert.equal(readFileSync(join(victim, "file"), "utf8"), "untouched");
      assert.deepEqual(readdirSync(victim), ["file"]);
    }
  });

  it("cannot lead a volume over /proc or /sys", async () => {
    const volume = join(containers.directory, "false-proc");
    mkdirSync(join(volume, "sys/net/ipv4"), { recursive: true });
    mkdirSync(join(volume, "self/attr"), { recursive: true });
    const bait = join(containers.directory, "bait");
    writeFileSync(bait, "bait");
    symlinkSync(bait, join(volume, "sys/net/ipv4/ip_unprivileged_port_start"));
    const launch = imageRoot((root) => {
      symlinkSync("/proc", join(root, "x"));
      symlinkSync("/sys", join(root, "y"));
    });
    const spec: RunOptions["spec"] = ({ mounts }) => {
      mounts.unshift({ destination: "/x", type: "bind", source: volume, options: ["rbind"] });
      mounts.push({ destination: "/y", type: "bind", source: volume, options: ["rbind"] });
    };
    const script =
      "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; [ -c /proc/keys ] && echo masked; ls /sys | grep -c kernel";
    assert.equal(await containers.shell(script, { launch, spec }), "0\nmasked\n1\n");
    assert.equal(readFileSync(bait, "utf8"), "bait");
  });

  it("cannot choose what masks a path", async () => {
    const launch = imageRoot((root) => {
      mkdirSync(join(root, "dev"), { recursive: true });
      symlinkSync("/proc/sys/kernel/core_pattern", join(root, "dev/null"));
    });
    const spec = withoutMount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue");
    // Where the devices are ours to make, a link in the place of one is refused.
    await assert.rejects(
      containers.run({ launch, spec, args: ["true"] }),
      /linux\.devices: \/dev\/null exists and is something else/,
    );
    const bound: RunOptions["spec"] = (to) => {
      spec?.(to);
      const source = join(containers.directory, "false-dev");
      mkdirSync(source);
      symlinkSync("/proc/sys/kernel/core_pattern", join(source, "null"));
      to.mounts.push({ destination: "/dev", source, options: ["bind"] });
    };
    const script = "stat -c %t:%T /proc/keys; wc -c < /proc/keys";
    const output = await containers.shell(script, { spec: bound });
    assert.equal(output, "1:3\n0\n");
  });

  it("cannot choose where the console goes", async () => {
    const launch = imageRoot((root) => {
      mkdirSync(join(root, "dev/pts"), { recursive: true });
      symlinkSync("/proc/sys/kernel/core_pattern", join(root, "dev/console"));
    });
    const pattern = readFileSync("/proc/sys/kernel/core_pattern", "utf8");
    const terminal: RunOptions["launch"] = (to) => {
      launch?.(to);
      to.stdio = { ...to.stdio, terminal: true };
    };
    const started = containers.run({
      launch: terminal,
      spec: withoutMount("/dev", "/dev/shm", "/dev/mqueue"),
      args: ["true"],
    });
    await assert.rejects(started, /\/dev\/console/);
    assert.equal(readFileSync("/proc/sys/kernel/core_pattern", "utf8"), pattern);
  });

  it("cannot pass something else off as a terminal", async () => {
    for (const kind of ["file", "link"]) {
      const launch = imageRoot((root) => {
        mkdirSync(join(root, "dev/pts"), { recursive: true });
        if (kind === "file") writeFileSync(join(root, "dev/pts/ptmx"), "");
        else symlinkSync("/proc/self/fd/0", join(root, "dev/pts/ptmx"));
      });
      const terminal: RunOptions["launch"] = (to) => {
        launch?.(to);
        to.stdio = { ...to.stdio, terminal: true };
      };
      const spec = withoutMount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue");
      await assert.rejects(containers.run({ launch: terminal, spec, args: ["true"] }), /terminal/);
    }
  });
});

describe("a configuration", () => {
  it("cannot mount over parts of /proc, or over the root", async () => {
    for (const destination of ["/proc", "/proc/self/attr", "/proc/sys/kernel", "/proc/1/../sys", "/"]) {
      const spec: RunOptions["spec"] = ({ mounts }) => {
        mounts.push({ destination, type: "bind", source: containers.directory, options: ["rbind"] });
      };
      await assert.rejects(
        containers.run({ spec, args: ["true"] }),
        /invalid mount destination/,
        destination,
      );
    }
  });

  it("can cover the few files of /proc that only inform", async () => {
    const source = join(containers.directory, "cpuinfo");
    writeFileSync(source, "processor: none\n");
    const spec: RunOptions["spec"] = ({ mounts }) => {
      mounts.push({ destination: "/proc/cpuinfo", type: "bind", source, options: ["bind", "ro"] });
    };
    assert.equal(await containers.shell("cat /proc/cpuinfo", { spec }), "processor: none\n");
  });

  it("cannot start in a directory of the host through a descriptor", async () => {
    await using container = await containers.start({ args: ["sleep", "1000"] });
    for (let fd = 0; fd < 40; fd++) {
      for (const cwd of [`/proc/self/fd/${fd}`, `/proc/1/fd/${fd}`, `/dev/fd/${fd}`]) {
        const spec: RunOptions["spec"] = ({ process }) => {
          process.cwd = cwd;
        };
        if (fd < 16)
          await assert.rejects(containers.run({ spec, args: ["pwd"] }), /working directory|chdir/, cwd);
        await assert.rejects(containers.exec(container, { args: ["pwd"], cwd }), /chdir to cwd/, cwd);
      }
    }
  });

  it("cannot reach outside of a volume by its sub-path", async () => {
    const volume = join(containers.directory, "sub-volume");
    mkdirSync(join(volume, "in"), { recursive: true });
    symlinkSync("/etc", join(volume, "out"));
    symlinkSync("../../../../../etc", join(volume, "up"));
    for (const subpath of ["out", "up", "in/../../../etc"]) {
      const spec: RunOptions["spec"] = ({ mounts }) => {
        mounts.push({ destination: "/v", type: "bind", source: volume, subpath, options: ["rbind"] });
      };
      await assert.rejects(containers.run({ spec, args: ["true"] }), /ENOENT/, subpath);
    }
  });
});

describe("a race for a mount's destination", () => {
  let attacker: ChildProcess | undefined;
  after(() => attacker?.kill("SIGKILL"));

  it("is never won outside of the root", async () => {
    const volume = join(containers.directory, "race");
    const outside = join(containers.directory, "outside");
    mkdirSync(join(volume, "way"), { recursive: true });
    mkdirSync(outside);
    symlinkSync(`../../../../../../../../..${outside}`, join(volume, "trap"));
    const script = join(import.meta.dirname, "exchange-names.ts");
    attacker = spawn(process.execPath, [script, volume, "way", "trap"], { stdio: "inherit" });
    await sleep(300);
    const source = join(containers.directory, "race-source");
    mkdirSync(source);
    writeFileSync(join(source, "seen"), "");
    let started = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const spec: RunOptions["spec"] = ({ mounts }) => {
        mounts.push(
          { destination: "/vol", type: "bind", source: volume, options: ["rbind"] },
          { destination: `/vol/way/d${round}/deep`, type: "bind", source, options: ["rbind"] },
        );
      };
      const run = containers.run({ spec, args: ["true"] });
      await run.then(() => started++).catch(() => undefined);
      assert.deepEqual(readdirSync(outside), [], `round ${round}`);
    }
    assert.ok(attacker.exitCode === null, "the attacker is still at work");
    attacker.kill("SIGKILL");
    console.log(`${started} of ${ROUNDS} started`);
  });
});

describe("a process in a container", () => {
  const launcherHash = () => createHash("sha256").update(readFileSync(containers.launcherPath)).digest("hex");

  it("cannot change the launcher, neither as its entry point nor while an exec joins", async () => {
    const hash = launcherHash();
    const { exitCode } = await containers.run({ args: ["/proc/self/exe"] });
    assert.equal(exitCode, 2, "the launcher's usage");
    // Looks at every process' program and tries to write to each.
    const script = `while true; do for p in /proc/[0-9]*; do
        e=$(readlink $p/exe) && case $e in /bin/busybox) ;; *) echo "$e" >> /seen; (echo x >> $p/exe) 2>/dev/null && echo wrote >> /wrote;; esac
      done; done`;
    await using container = await containers.start({ args: ["sh", "-c", script] });
    for (let round = 0; round < 30; round++) {
      await containers.exec(container, { args: ["true"] });
      await containers.exec(container, { args: ["/proc/self/exe"] });
    }
    const upper = `${containers.directory}/${container.id}/upper`;
    assert.ok(!existsSync(`${upper}/wrote`));
    assert.equal(launcherHash(), hash);
  });

  it("finds no control group file it could have the host run a program by", async () => {
    const script =
      "find /sys -name release_agent; find /sys/fs/cgroup -type f -exec test -w {} ';' -print 2>/dev/null | while read f; do (echo 0 >> $f) 2>/dev/null && echo $f; done; true";
    assert.equal(await containers.shell(script), "");
    const mount =
      "mkdir /tmp/c; mount -t cgroup -o memory none /tmp/c 2>/dev/null && echo mounted; unshare -UrC true 2>/dev/null && echo unshared; true";
    assert.equal(await containers.shell(mount), "");
  });

  it("finds no abstract socket of ours", async () => {
    const output = await containers.shell("cat /proc/net/unix", {
      spec: ({ linux }) => {
        linux.namespaces = linux.namespaces?.filter(({ type }) => type !== "network") ?? [];
        delete linux.sysctl;
      },
    });
    assert.doesNotMatch(output, /@(?!berth-test-subnet-).*berth/);
  });

  it("ends with its shim, and never goes on unwatched", async () => {
    for (const user of [0, 1000]) {
      await using container = await containers.start({
        args: ["sleep", "1000"],
        spec: ({ process }) => {
          process.user = { uid: user, gid: user };
        },
      });
      const parent = Number(
        /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${container.pid}/status`, "utf8"))?.[1],
      );
      assert.equal(readFileSync(`/proc/${parent}/comm`, "utf8"), "berth-shim\n");
      process.kill(parent, "SIGKILL");
      const { exitCode } = await container.exited;
      assert.equal(exitCode, 137);
      await eventually(() => assert.ok(!existsSync(`/proc/${container.pid}`)));
    }
  });

  it("finds its run directory closed to others on the host, and the socket to all but root", async () => {
    await using container = await containers.start({ args: ["sleep", "1000"] });
    const { statSync } = await import("node:fs");
    assert.equal(statSync(container.compiled.controlSocket).mode & 0o777, 0o600);
    assert.equal(statSync(container.launch.execDirectory).mode & 0o777, 0o700);
    assert.equal(statSync(container.launch.log.path).mode & 0o777, 0o640);
  });
});

/** The root, its devices, and what in it is hidden or closed, as a container finds them. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { CAPABILITIES } from "#runtime/capabilities.ts";
import { Containers, type FullSpec, type RunOptions } from "#runtime/container.test-tool.ts";
import { capabilitySets } from "#runtime/default-spec.ts";
import type { SpecDevice } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

let containers: Containers;
before(() => {
  containers = new Containers();
});
after(async () => {
  await containers[Symbol.asyncDispose]();
});

const lines = (text: string) => text.trimEnd().split("\n");
const inDirectory =
  (path: string): RunOptions["launch"] =>
  (launch) => {
    launch.rootfs = { kind: "directory", path };
  };
const withoutDev = ({ mounts }: FullSpec) => {
  const rest = mounts.filter(({ destination }) => !/^\/dev(\/|$)/.test(destination));
  mounts.splice(0, mounts.length, ...rest);
};

describe("devices", () => {
  const DEFAULT = ["full 1:7", "null 1:3", "random 1:8", "tty 5:0", "urandom 1:9", "zero 1:5"];
  const listing =
    "for f in full null random tty urandom zero; do stat -c '%n %t:%T' /dev/$f; done; for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done";
  const links = ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"];

  it("that every container has are there though none is listed", async () => {
    const spec = ({ linux }: FullSpec) => {
      delete linux.devices;
    };
    const found = lines(await containers.shell(listing, { spec }));
    assert.deepEqual(found, [...DEFAULT.map((name) => `/dev/${name}`), ...links]);
    const used = "head -c 2 /dev/zero | wc -c; echo x > /dev/null && head -c 3 /dev/urandom | wc -c";
    assert.deepEqual(lines(await containers.shell(used, { spec })), ["2", "3"]);
  });

  it("are made in the image's /dev where nothing is mounted there, and left alone in one that is bound", async () => {
    const rootfs = containers.makeRootfs("own-dev");
    execFileSync("mknod", [join(rootfs, "dev/ptmx"), "c", "5", "2"]);
    execFileSync("mknod", [join(rootfs, "dev/null"), "c", "1", "3"]);
    const found = await containers.shell(listing, { launch: inDirectory(rootfs), spec: withoutDev });
    assert.deepEqual(lines(found), [...DEFAULT.map((name) => `/dev/${name}`), ...links]);
    const bound = join(containers.directory, "bound-dev");
    mkdirSync(join(bound, "pts"), { recursive: true });
    writeFileSync(join(bound, "mine"), "");
    const spec = (to: FullSpec) => {
      withoutDev(to);
      to.mounts.push({ destination: "/dev", source: bound, options: ["rbind"] });
    };
    assert.equal(await containers.shell("ls /dev", { spec }), "mine\npts\n");
  });

  it("are of every kind, with mode and owner, anywhere in the root", async () => {
    const devices: SpecDevice[] = [
      { type: "c", path: "/dev/char", major: 1, minor: 11, fileMode: 0o640, uid: 5, gid: 6 },
      { type: "u", path: "/dev/deep/er/unbuffered", major: 10, minor: 300 },
      { type: "b", path: "/block", major: 259, minor: 70000, fileMode: 0o600 },
      { type: "p", path: "/var/spool/pipe", fileMode: 0o622, gid: 7 },
      { type: "c", path: "/dev//null", major: 1, minor: 3, fileMode: 0o600 },
    ];
    const script =
      "stat -c '%n %A %u:%g %t:%T' /dev/char /dev/deep/er/unbuffered /block /var/spool/pipe /dev/null; stat -c '%a' /dev/deep /var/spool";
    const spec = ({ linux }: FullSpec) => {
      linux.devices = devices;
    };
    assert.deepEqual(lines(await containers.shell(script, { spec })), [
      "/dev/char crw-r----- 5:6 1:b",
      "/dev/deep/er/unbuffered crw-rw-rw- 0:0 a:12c",
      "/block brw------- 0:0 103:11170",
      "/var/spool/pipe prw--w--w- 0:7 0:0",
      "/dev/null crw------- 0:0 1:3",
      "755",
      "755",
    ]);
  });

  it("that an image has already are accepted if they are the same, and refused if not", async () => {
    const rootfs = containers.makeRootfs("has-devices");
    const have = (name: string, ...kind: string[]) =>
      execFileSync("mknod", ["-m", "600", join(rootfs, name), ...kind]);
    have("same", "c", "1", "11");
    have("pipe", "p");
    const launch = inDirectory(rootfs);
    const wanting =
      (device: SpecDevice): RunOptions["spec"] =>
      ({ linux }) => {
        linux.devices = [device];
      };
    for (const device of [
      { type: "c", path: "/same", major: 1, minor: 11 },
      { type: "p", path: "/pipe" },
    ] as const) {
      const script = `stat -c '%n %a' ${device.path}`;
      assert.equal(await containers.shell(script, { launch, spec: wanting(device) }), `${device.path} 600\n`);
    }
    have("other", "c", "1", "12");
    writeFileSync(join(rootfs, "file"), "");
    mkdirSync(join(rootfs, "directory"));
    symlinkSync("same", join(rootfs, "link"));
    for (const path of ["/other", "/file", "/directory", "/link"]) {
      for (const kind of [{ type: "c", major: 1, minor: 11 }, { type: "p" }] as const) {
        await assert.rejects(
          containers.run({ launch, spec: wanting({ ...kind, path }), args: ["true"] }),
          new RegExp(`linux\\.devices: ${path} exists and is something else`),
          `${path} as ${kind.type}`,
        );
      }
    }
    assert.ok(lstatSync(join(rootfs, "link")).isSymbolicLink());
  });

  it("of a wrong description are refused by field", async () => {
    const refusals: [unknown, RegExp][] = [
      [{ type: "x", path: "/dev/x", major: 1, minor: 1 }, /linux\.devices\[0\]\.type: invalid type "x"/],
      [{ path: "/dev/x", major: 1, minor: 1 }, /linux\.devices\[0\]\.type/],
      [{ type: "c", path: "/dev/x", minor: 1 }, /linux\.devices\[0\]\.major/],
      [{ type: "b", path: "/dev/x", major: 1, minor: -1 }, /linux\.devices\[0\]\.minor/],
      [{ type: "c", path: "dev/x", major: 1, minor: 1 }, /linux\.devices\[0\]\.path/],
      [{ type: "c", path: "/", major: 1, minor: 1 }, /linux\.devices\[0\]\.path/],
      [{ type: "c", path: "/dev/x", major: 1, minor: 1, uid: -4 }, /linux\.devices\[0\]\.uid/],
      [{ type: "c", path: "/dev/x", major: 1, minor: 1, fileMode: "600" }, /linux\.devices\[0\]\.fileMode/],
    ];
    for (const [device, pattern] of refusals) {
      const spec = ({ linux }: FullSpec) => {
        linux.devices = [device as SpecDevice];
      };
      await assert.rejects(containers.run({ spec, args: ["true"] }), pattern);
    }
  });
});

describe("the root", () => {
  it("is closed to writing when asked, mounts in it are not", async () => {
    const rootfs = containers.makeRootfs("closed");
    mkdirSync(join(rootfs, "run"));
    const spec = (to: FullSpec) => {
      to.root = { path: "rootfs", readonly: true };
      to.mounts.push({ destination: "/run", type: "tmpfs", source: "tmpfs" });
    };
    const script =
      "for d in / /etc /root; do touch $d/x 2>/dev/null && echo $d; done; touch /run/x /dev/x && echo open; grep ' / ' /proc/self/mountinfo | cut -d' ' -f6";
    const [open, options] = lines(await containers.shell(script, { launch: inDirectory(rootfs), spec }));
    assert.equal(open, "open");
    assert.match(options ?? "", /^ro,/);
    writeFileSync(join(rootfs, "from-host"), "");
  });

  it("takes no part in what the host mounts in it, nor the host in what it mounts, unless it is to be a slave", async () => {
    const shared = mkdtempSync(join(tmpdir(), "berth-mounts-root-"));
    execFileSync("mount", ["-t", "tmpfs", "shared", shared]);
    try {
      execFileSync("mount", ["--make-shared", shared]);
      const rootfs = join(shared, "rootfs");
      execFileSync("cp", ["-a", containers.rootfs, rootfs]);
      mkdirSync(join(rootfs, "inner"));
      mkdirSync(join(rootfs, "outer"));
      const expected: [word: string | undefined, tag: string, inward: boolean][] = [
        [undefined, "-", false],
        ["private", "-", false],
        ["rprivate", "-", false],
        ["slave", "master", true],
        ["rslave", "master", true],
        ["shared", "shared", false],
        ["rshared", "shared", false],
        ["unbindable", "unbindable", false],
        ["runbindable", "unbindable", false],
      ];
      for (const [word, tag, inward] of expected) {
        const script = `grep ' / / \\| /rootfs / ' /proc/self/mountinfo; mount -t tmpfs inner /inner && mount --bind / /tmp 2>/dev/null && echo bound; echo ready
          while ! [ -e /done ]; do sleep 0.05; done; grep -q ' /outer ' /proc/self/mountinfo && echo inward; true`;
        await using container = await containers.start({
          args: ["sh", "-c", script],
          launch: inDirectory(rootfs),
          spec: (spec) => {
            spec.process.capabilities = capabilitySets(CAPABILITIES);
            delete spec.linux.seccomp;
            if (word !== undefined) spec.linux.rootfsPropagation = word;
          },
        });
        await eventually(() => assert.match(container.output(), /ready/));
        const name = word ?? "none";
        assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes(`${rootfs}/`), name);
        execFileSync("mount", ["-t", "tmpfs", "outer", join(rootfs, "outer")]);
        try {
          writeFileSync(join(rootfs, "done"), "");
          await container.exited;
        } finally {
          execFileSync("umount", [join(rootfs, "outer")]);
          rmSync(join(rootfs, "done"), { force: true });
        }
        const output = container.output();
        assert.equal((lines(output)[0]?.split(" ")[6] ?? "").replace(/:\d+$/, ""), tag, name);
        assert.equal(/inward/.test(output), inward, name);
        assert.equal(/bound/.test(output), !name.includes("unbindable"), name);
      }
    } finally {
      for (let again = 0; again < 5; again++) spawnSync("umount", ["-R", shared], { stdio: "ignore" });
      rmSync(shared, { recursive: true, force: true });
    }
  });

  it("of another propagation is refused", async () => {
    const spec = ({ linux }: FullSpec) => {
      linux.rootfsPropagation = "sometimes";
    };
    await assert.rejects(containers.run({ spec, args: ["true"] }), /linux\.rootfsPropagation: "sometimes"/);
  });
});

describe("hidden paths", () => {
  const spec =
    (masked: string[], closed: string[] = []) =>
    ({ linux, mounts }: FullSpec) => {
      linux.maskedPaths = masked;
      linux.readonlyPaths = closed;
      mounts.push({ destination: "/secret/mount", type: "tmpfs", source: "tmpfs", options: ["mode=755"] });
    };
  let launch: RunOptions["launch"];
  before(() => {
    const rootfs = containers.makeRootfs("hidden");
    mkdirSync(join(rootfs, "secret/inner"), { recursive: true });
    writeFileSync(join(rootfs, "secret/file"), "secret\n");
    writeFileSync(join(rootfs, "secret/inner/file"), "secret\n");
    symlinkSync("/secret", join(rootfs, "way"));
    launch = inDirectory(rootfs);
  });

  it("show nothing, be they files, directories, mounts, or reached by links; missing ones are passed over", async () => {
    const masked = [
      "/secret/file",
      "/way/inner",
      "/secret/mount",
      "/not/there",
      "/proc/meminfo",
      "/proc/nosuch",
    ];
    const script = `cat /secret/file /proc/meminfo; ls -A /secret/inner /secret/mount | grep -v :; [ -c /secret/file ] && echo device
      for f in /secret/inner/x /secret/mount/x; do (echo x > $f) 2>/dev/null && echo wrote; done; [ -e /not ] || echo missing`;
    const output = await containers.shell(script, { launch, spec: spec(masked) });
    assert.deepEqual(lines(output).filter(Boolean), ["device", "missing"]);
  });

  it("are closed to writing with all that is mounted below; missing ones are passed over", async () => {
    const closed = ["/secret", "/not/there", "/proc/sys", "/etc/passwd"];
    const script = `for f in /secret/file /secret/inner/x /secret/mount/x /etc/passwd /proc/sys/kernel/domainname; do (echo x >> $f) 2>/dev/null && echo $f; done
      cat /secret/file; touch /etc/open && echo open`;
    assert.deepEqual(lines(await containers.shell(script, { launch, spec: spec([], closed) })), [
      "secret",
      "open",
    ]);
  });

  it("of a wrong shape are refused by field", async () => {
    for (const [masked, closed, pattern] of [
      [["relative"], [], /linux\.maskedPaths\[0\]: "relative"/],
      [["/ok", "/"], [], /linux\.maskedPaths\[1\]/],
      [[], ["relative"], /linux\.readonlyPaths\[0\]/],
      [[], "no list", /linux\.readonlyPaths: must be a list/],
    ] as [string[], string[], RegExp][]) {
      await assert.rejects(containers.run({ spec: spec(masked, closed), args: ["true"] }), pattern);
    }
    assert.ok(!existsSync(join(containers.rootfs, "secret")));
  });
});

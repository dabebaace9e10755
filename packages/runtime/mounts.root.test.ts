/** Mounts of a configuration, as a container finds them. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { CAPABILITIES } from "#runtime/capabilities.ts";
import { Containers, type FullSpec, type RunOptions } from "#runtime/container.test-tool.ts";
import { capabilitySets } from "#runtime/default-spec.ts";
import type { SpecMount } from "#runtime/spec-types.ts";
import { eventually } from "#test/fixtures/eventually.ts";

let containers: Containers;
/** A directory of the host's that is a mount of its own, shared. */
let shared: string;
before(() => {
  containers = new Containers();
  shared = mkdtempSync(join(tmpdir(), "berth-mounts-shared-"));
  execFileSync("mount", ["-t", "tmpfs", "shared", shared]);
  execFileSync("mount", ["--make-shared", shared]);
});
after(async () => {
  await containers[Symbol.asyncDispose]();
  for (let again = 0; again < 5; again++) spawnSync("umount", ["-R", shared], { stdio: "ignore" });
  rmSync(shared, { recursive: true, force: true });
});

const lines = (text: string) => text.trimEnd().split("\n");

const withMounts =
  (...mounts: SpecMount[]): NonNullable<RunOptions["spec"]> =>
  (spec) => {
    spec.mounts.push(...mounts);
  };

/** Everything a process can be allowed to do, so that a test may mount inside. */
function powerful(spec: FullSpec): void {
  spec.process.capabilities = capabilitySets(CAPABILITIES);
  delete spec.linux.seccomp;
}

interface Row {
  options: string[];
  tags: string[];
  type: string;
  parameters: string[];
}

/** The mount table inside, by mount point; the last one wins. */
async function table(options: RunOptions): Promise<Record<string, Row>> {
  const text = await containers.shell("cat /proc/self/mountinfo", options);
  return Object.fromEntries(
    lines(text).map((line) => {
      const [left = "", right = ""] = line.split(" - ");
      const fields = left.split(" ");
      const [type = "", , parameters = ""] = right.split(" ");
      const row = {
        options: fields[5]?.split(",") ?? [],
        tags: fields.slice(6),
        type,
        parameters: parameters.split(","),
      };
      return [fields[4] ?? "", row];
    }),
  );
}

const sorted = (words: readonly string[]) => [...words].sort().join(",");

function sourceDirectory(name: string): string {
  const path = join(containers.directory, name);
  mkdirSync(path, { recursive: true });
  return path;
}

describe("a new file system", () => {
  it("has each attribute and flag that is asked for", async () => {
    // Words → options of the mount, flags of the file system.
    const expected: [words: string, options: string, flags: string][] = [
      ["ro", "ro,relatime", "rw"],
      ["rw", "rw,relatime", "rw"],
      ["ro rw", "rw,relatime", "rw"],
      ["nosuid", "rw,nosuid,relatime", "rw"],
      ["nosuid suid", "rw,relatime", "rw"],
      ["nodev", "rw,nodev,relatime", "rw"],
      ["nodev dev", "rw,relatime", "rw"],
      ["noexec", "rw,noexec,relatime", "rw"],
      ["noexec exec", "rw,relatime", "rw"],
      ["noatime", "rw,noatime", "rw"],
      ["noatime atime", "rw,relatime", "rw"],
      ["strictatime", "rw", "rw"],
      ["strictatime nostrictatime", "rw,relatime", "rw"],
      ["relatime", "rw,relatime", "rw"],
      ["relatime norelatime", "rw,relatime", "rw"],
      ["noatime norelatime", "rw,noatime", "rw"],
      ["nodiratime", "rw,nodiratime,relatime", "rw"],
      ["nodiratime diratime", "rw,relatime", "rw"],
      ["nosymfollow", "rw,relatime,nosymfollow", "rw"],
      ["nosymfollow symfollow", "rw,relatime", "rw"],
      ["sync", "rw,relatime", "rw,sync"],
      ["sync async", "rw,relatime", "rw"],
      ["dirsync", "rw,relatime", "rw,dirsync"],
      ["lazytime", "rw,relatime", "rw,lazytime"],
      ["lazytime nolazytime", "rw,relatime", "rw"],
      ["mand", "rw,relatime", "rw,mand"],
      ["mand nomand", "rw,relatime", "rw"],
      ["defaults silent loud iversion noiversion acl noacl", "rw,relatime", "rw"],
      ["size=64k mode=700", "rw,relatime", "rw,size=64k,mode=700"],
      ["rro", "ro,relatime", "rw"],
      ["rnosuid rnodev rnoexec", "rw,nosuid,nodev,noexec,relatime", "rw"],
    ];
    const mounts = expected.map(([words], index) => ({
      destination: `/m/${index}`,
      type: "tmpfs",
      source: "tmpfs",
      options: words.split(" "),
    }));
    const rows = await table({ spec: withMounts(...mounts) });
    expected.forEach(([words, options, flags], index) => {
      const row = rows[`/m/${index}`];
      assert.equal(sorted(row?.options ?? []), sorted(options.split(",")), words);
      const shown = (row?.parameters ?? []).filter((name) => name !== "inode64");
      assert.equal(sorted(shown), sorted(flags.split(",")), words);
    });
  });

  it("takes its own parameters", async () => {
    const spec = withMounts({
      destination: "/t",
      type: "tmpfs",
      source: "tmpfs",
      options: ["size=1m", "nr_inodes=64", "mode=1750", "uid=7", "gid=8"],
    });
    const script = "stat -c '%a %u:%g' /t; grep ' /t ' /proc/mounts";
    const [status, mount] = lines(await containers.shell(script, { spec }));
    assert.equal(status, "1750 7:8");
    assert.match(mount ?? "", /size=1024k,nr_inodes=64,mode=1750,uid=7,gid=8/);
  });

  it("can be of any type the kernel has", async () => {
    const rows = await table({
      spec: withMounts(
        { destination: "/r", type: "ramfs", source: "ramfs" },
        { destination: "/p", type: "proc", source: "proc", options: ["hidepid=2", "subset=pid"] },
        { destination: "/s", type: "sysfs", source: "sysfs", options: ["ro"] },
        { destination: "/q", type: "mqueue", source: "mqueue" },
      ),
    });
    assert.deepEqual(
      ["/r", "/p", "/s", "/q"].map((point) => rows[point]?.type),
      ["ramfs", "proc", "sysfs", "mqueue"],
    );
    assert.ok(rows["/p"]?.parameters.includes("subset=pid"));
    await assert.rejects(
      table({ spec: withMounts({ destination: "/x", type: "nosuchfs", source: "x" }) }),
      /mount nosuchfs on \/x: ENODEV/,
    );
  });

  it("makes a devpts of its own, with the modes and group asked for", async () => {
    const spec = ({ mounts, linux }: FullSpec) => {
      const pts = mounts.find(({ destination }) => destination === "/dev/pts");
      assert.ok(pts);
      pts.options = ["newinstance", "ptmxmode=0600", "mode=0640", "gid=7", "max=16"];
      delete linux.seccomp;
    };
    const script =
      "stat -c '%a' /dev/pts/ptmx; readlink /dev/ptmx; ls /dev/pts; grep ' /dev/pts ' /proc/mounts";
    const [mode, link, content, mount] = lines(await containers.shell(script, { spec }));
    assert.deepEqual([mode, link, content], ["600", "pts/ptmx", "ptmx"]);
    assert.match(mount ?? "", /gid=7,mode=640,ptmxmode=600,max=16/);
  });

  it("of tmpfs has the mode of the directory it covers, and is world-writable where there was none", async () => {
    const rootfs = containers.makeRootfs("modes");
    mkdirSync(join(rootfs, "there"));
    chmodSync(join(rootfs, "there"), 0o2751);
    const spec = withMounts(
      { destination: "/there", type: "tmpfs", source: "tmpfs" },
      { destination: "/new/one", type: "tmpfs", source: "tmpfs" },
    );
    const output = await containers.shell("stat -c %a /there /new/one /new", {
      spec,
      launch: (launch) => {
        launch.rootfs = { kind: "directory", path: rootfs };
      },
    });
    assert.deepEqual(lines(output), ["2751", "1777", "755"]);
  });

  it("of tmpfs that is read-only takes further mounts before it closes", async () => {
    const spec = withMounts(
      { destination: "/t", type: "tmpfs", source: "tmpfs", options: ["ro"] },
      { destination: "/t/in/side", type: "tmpfs", source: "tmpfs" },
    );
    const script = "touch /t/x 2>/dev/null || echo closed; touch /t/in/side/x && echo open";
    assert.deepEqual(lines(await containers.shell(script, { spec })), ["closed", "open"]);
    const dev = ({ mounts }: FullSpec) => {
      mounts.find(({ destination }) => destination === "/dev")?.options?.push("ro");
    };
    const inDev = "touch /dev/x 2>/dev/null || echo closed; echo x > /dev/null && ls /dev | wc -l";
    assert.deepEqual(lines(await containers.shell(inDev, { spec: dev })), ["closed", "15"]);
  });

  it("needs a directory to be mounted on", async () => {
    const spec = withMounts({ destination: "/etc/passwd", type: "tmpfs", source: "tmpfs" });
    await assert.rejects(containers.run({ spec, args: ["true"] }), /mount point \/etc\/passwd: ENOTDIR/);
  });
});

describe("tmpcopyup", () => {
  const copied: SpecMount = {
    destination: "/full",
    type: "tmpfs",
    source: "tmpfs",
    options: ["tmpcopyup", "size=8m"],
  };
  let rootfs: string;
  before(async () => {
    rootfs = containers.makeRootfs("copyup");
    const full = join(rootfs, "full");
    mkdirSync(join(full, "deep/deeper"), { recursive: true });
    mkdirSync(join(full, "deep/empty"));
    for (let count = 0; count < 60; count++) writeFileSync(join(full, `f${count}`), `${count}`);
    writeFileSync(join(full, "deep/deeper/big"), Buffer.alloc(3_000_000, "berth"));
    writeFileSync(join(full, "deep", "n".repeat(255)), "long");
    writeFileSync(join(full, "suid"), "", { mode: 0o600 });
    chownSync(join(full, "suid"), 12, 34);
    chmodSync(join(full, "suid"), 0o4751);
    symlinkSync("/proc/kcore", join(full, "link"));
    symlinkSync("../etc", join(full, "linked-directory"));
    execFileSync("mkfifo", [join(full, "pipe")]);
    execFileSync("mknod", [join(full, "null"), "c", "1", "3"]);
    const server = createServer().listen(join(full, "socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    server.unref();
    chmodSync(join(full, "deep"), 0o2770);
    utimesSync(join(full, "deep"), 1_000_000_000, 1_000_000_000);
    chownSync(full, 55, 66);
    chmodSync(full, 0o751);
  });
  const launch: RunOptions["launch"] = (to) => {
    to.rootfs = { kind: "directory", path: rootfs };
  };
  const list =
    "cd /full && find . -exec stat -c '%n %A %u:%g %Y %t:%T' {} ';' | grep -v '^./socket' ; readlink link linked-directory; find . -type f | while read f; do cksum < $f 2>/dev/null || wc -c < $f; done";

  it("fills a tmpfs with what it covers, attributes and all", async () => {
    const sort = (text: string) => lines(text).sort();
    const below = await containers.shell(list, { launch });
    const above = await containers.shell(list, { launch, spec: withMounts(copied) });
    // The topmost directory is the new file system's own, as far as its times go.
    const own = (line: string) => (line.startsWith(". ") ? line.replace(/\d{10} /, "") : line);
    assert.deepEqual(sort(above).map(own), sort(below).map(own));
    assert.ok(sort(above).length > 70);
    const rows = await table({ launch, spec: withMounts(copied) });
    assert.equal(rows["/full"]?.type, "tmpfs");
    const kinds = "[ -S /full/socket ] && [ -p /full/pipe ] && [ -c /full/null ] && echo kinds";
    assert.equal(await containers.shell(kinds, { launch, spec: withMounts(copied) }), "kinds\n");
  });

  it("leaves what it covers as it was", async () => {
    const script = "rm -rf /full/deep 2>/dev/null || echo x > /full/f1; echo new > /full/f2";
    const { exitCode } = await containers.run({
      launch,
      spec: withMounts(copied),
      args: ["sh", "-c", script.replace("rm -rf", "busybox rm -rf")],
    });
    assert.equal(exitCode, 0);
    assert.equal(readFileSync(join(rootfs, "full/f2"), "utf8"), "2");
    assert.ok(existsSync(join(rootfs, "full/deep/deeper/big")));
  });

  it("is closed to writing only afterwards, and says what did not fit", async () => {
    const readOnly = { ...copied, options: ["tmpcopyup", "ro"] };
    const script = "cat /full/f7; touch /full/x 2>/dev/null || echo closed";
    assert.equal(await containers.shell(script, { launch, spec: withMounts(readOnly) }), "7closed\n");
    const small = { ...copied, options: ["tmpcopyup", "size=1m"] };
    await assert.rejects(
      containers.run({ launch, spec: withMounts(small), args: ["true"] }),
      /copy what is in \/full: ENOSPC/,
    );
  });

  it("copies what several layers have together", async () => {
    const lower = join(containers.rootfs, "layered");
    mkdirSync(join(lower, "both"), { recursive: true });
    for (let count = 0; count < 300; count++) writeFileSync(join(lower, `lower${count}`), "");
    writeFileSync(join(lower, "both/changed"), "lower");
    writeFileSync(join(lower, "both/kept"), "kept");
    const output = await containers.shell(
      "cd /layered; ls | wc -l; cat both/changed both/kept upper; ls both | wc -l",
      {
        spec: withMounts({ ...copied, destination: "/layered" }),
        launch: ({ id }) => {
          const upper = join(containers.directory, id, "upper/layered");
          mkdirSync(join(upper, "both"), { recursive: true });
          writeFileSync(join(upper, "upper"), " upper\n");
          writeFileSync(join(upper, "both/changed"), "upper ");
          // A whiteout hides what is below it.
          execFileSync("mknod", [join(upper, "lower7"), "c", "0", "0"]);
        },
      },
    );
    assert.deepEqual(lines(output), ["301", "upper kept upper", "2"]);
  });

  it("begins empty where nothing was", async () => {
    const empty = { ...copied, destination: "/nothing/here" };
    assert.equal(await containers.shell("ls -A /nothing/here | wc -l", { spec: withMounts(empty) }), "0\n");
  });

  it("is for tmpfs only", async () => {
    const wrong = { ...copied, type: "ramfs" };
    await assert.rejects(
      containers.run({ spec: withMounts(wrong), args: ["true"] }),
      /mounts\[7\]\.options: tmpcopyup is for tmpfs only/,
    );
  });
});

describe("a bind mount", () => {
  it("has each attribute that is asked for, and keeps the source's others", async () => {
    // On a mount without attributes of its own, whatever the directory for temporary files has.
    const source = join(shared, "attributes");
    mkdirSync(source);
    const expected: [words: string, options: string][] = [
      ["bind", "rw,relatime"],
      ["bind ro", "ro,relatime"],
      ["rbind nosuid nodev noexec", "rw,nosuid,nodev,noexec,relatime"],
      ["bind noatime", "rw,noatime"],
      ["bind strictatime", "rw"],
      ["bind nodiratime", "rw,nodiratime,relatime"],
      ["bind nosymfollow", "rw,relatime,nosymfollow"],
      ["bind sync dirsync lazytime acl iversion size=1", "rw,relatime"],
    ];
    const mounts = expected.map(([words], index) => ({
      destination: `/m/${index}`,
      type: "none",
      source,
      options: words.split(" "),
    }));
    const rows = await table({ spec: withMounts(...mounts) });
    expected.forEach(([words, options], index) => {
      assert.equal(sorted(rows[`/m/${index}`]?.options ?? []), sorted(options.split(",")), words);
    });
  });

  it("changes everything below with the recursive words, and only itself with the others", async () => {
    const top = join(shared, "recursive");
    mkdirSync(top);
    execFileSync("mount", ["-t", "tmpfs", "-o", "noatime,nosuid", "top", top]);
    mkdirSync(join(top, "sub"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "nodev,noexec", "sub", join(top, "sub")]);
    const expected: [words: string, self: string, below: string][] = [
      ["bind", "rw,nosuid,noatime", ""],
      ["rbind", "rw,nosuid,noatime", "rw,nodev,noexec,relatime"],
      ["rbind ro", "ro,nosuid,noatime", "rw,nodev,noexec,relatime"],
      ["rbind rro", "ro,nosuid,noatime", "ro,nodev,noexec,relatime"],
      ["rbind rro rw", "rw,nosuid,noatime", "ro,nodev,noexec,relatime"],
      ["rbind rro rrw", "rw,nosuid,noatime", "rw,nodev,noexec,relatime"],
      ["rbind rnosuid", "rw,nosuid,noatime", "rw,nosuid,nodev,noexec,relatime"],
      ["rbind rsuid", "rw,noatime", "rw,nodev,noexec,relatime"],
      ["rbind rnodev", "rw,nosuid,nodev,noatime", "rw,nodev,noexec,relatime"],
      ["rbind rdev rexec", "rw,nosuid,noatime", "rw,relatime"],
      ["rbind rnoexec", "rw,nosuid,noexec,noatime", "rw,nodev,noexec,relatime"],
      ["rbind rnoatime", "rw,nosuid,noatime", "rw,nodev,noexec,noatime"],
      ["rbind ratime", "rw,nosuid,relatime", "rw,nodev,noexec,relatime"],
      ["rbind rrelatime", "rw,nosuid,relatime", "rw,nodev,noexec,relatime"],
      ["rbind rnorelatime", "rw,nosuid,noatime", "rw,nodev,noexec,relatime"],
      ["rbind rstrictatime", "rw,nosuid", "rw,nodev,noexec"],
      ["rbind rstrictatime rnostrictatime", "rw,nosuid,relatime", "rw,nodev,noexec,relatime"],
      ["rbind rnodiratime", "rw,nosuid,noatime,nodiratime", "rw,nodev,noexec,relatime,nodiratime"],
      ["rbind rnodiratime rdiratime", "rw,nosuid,noatime", "rw,nodev,noexec,relatime"],
      ["rbind rnosymfollow", "rw,nosuid,noatime,nosymfollow", "rw,nodev,noexec,relatime,nosymfollow"],
      ["rbind rnosymfollow rsymfollow", "rw,nosuid,noatime", "rw,nodev,noexec,relatime"],
    ];
    const mounts = expected.map(([words], index) => ({
      destination: `/m/${index}`,
      type: "none",
      source: top,
      options: words.split(" "),
    }));
    const rows = await table({ spec: withMounts(...mounts) });
    expected.forEach(([words, self, below], index) => {
      assert.equal(sorted(rows[`/m/${index}`]?.options ?? []), sorted(self.split(",")), words);
      const sub = rows[`/m/${index}/sub`];
      assert.equal(sub === undefined ? "" : sorted(sub.options), sorted(below.split(",")), `${words}, below`);
    });
  });

  it("shows files of every kind, on names that are there and names that are not", async () => {
    const source = sourceDirectory("kinds");
    writeFileSync(join(source, "file"), "content\n");
    symlinkSync("file", join(source, "link"));
    symlinkSync(".", join(source, "directory"));
    execFileSync("mkfifo", [join(source, "pipe")]);
    const server = createServer().listen(join(source, "socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    const mounts = (["file", "link", "pipe", "socket", "directory"] as const).map((name) => ({
      destination: `/new/${name}`,
      source: join(source, name),
      options: ["bind"],
    }));
    const spec = withMounts(
      ...mounts,
      { destination: "/new/null", source: "/dev/null", options: ["bind"] },
      { destination: "/etc/passwd", source: join(source, "file"), options: ["bind", "ro"] },
    );
    const script = `cd /new; cat file link directory/file /etc/passwd; [ -p pipe ] && [ -S socket ] && [ -c null ] && echo kinds
      echo x > null && stat -c %t:%T null; (echo x > /etc/passwd) 2>/dev/null || echo refused`;
    try {
      const output = await containers.shell(script, { spec });
      assert.deepEqual(lines(output), [...Array(4).fill("content"), "kinds", "1:3", "refused"]);
    } finally {
      server.close();
    }
  });

  it("is refused without a source, or without the word that makes it one", async () => {
    const refusals: [SpecMount, RegExp][] = [
      [{ destination: "/x", options: ["bind"] }, /mounts\[7\]\.source/],
      [{ destination: "/x", type: "bind", source: "/etc" }, /mounts\[7\]\.options/],
      [{ destination: "/x", source: "/etc" }, /mounts\[7\]\.type/],
      [{ destination: "", type: "tmpfs" }, /mounts\[7\]\.destination/],
      [{ destination: "/x", type: "tmpfs", options: "ro" as never }, /mounts\[7\]\.options/],
      [{ destination: "/x", type: 5 as never }, /mounts\[7\]\.type/],
    ];
    for (const [mount, pattern] of refusals) {
      await assert.rejects(containers.run({ spec: withMounts(mount), args: ["true"] }), pattern);
    }
    const missing = { destination: "/x", source: join(containers.directory, "missing"), options: ["bind"] };
    await assert.rejects(
      containers.run({ spec: withMounts(missing), args: ["true"] }),
      /bind mount source path .*missing: ENOENT/,
    );
  });
});

describe("propagation", () => {
  /** What both sides see of a mount that the other makes. */
  async function seen(words: string[]): Promise<{ tags: string[]; inward: boolean; outward: boolean }> {
    const source = join(shared, `p-${words.join("-")}`);
    mkdirSync(join(source, "from-host"), { recursive: true });
    mkdirSync(join(source, "from-container"));
    const script = `grep ' /v ' /proc/self/mountinfo; mount -t tmpfs inside /v/from-container; echo ready
      while ! [ -e /v/done ]; do sleep 0.05; done; grep -q ' /v/from-host ' /proc/self/mountinfo && echo inward; true`;
    await using container = await containers.start({
      args: ["sh", "-c", script],
      spec: (spec) => {
        powerful(spec);
        withMounts({ destination: "/v", source, options: ["rbind", ...words] })(spec);
      },
    });
    await eventually(() => assert.match(container.output(), /ready/));
    const outward = spawnSync("mountpoint", ["-q", join(source, "from-container")]).status === 0;
    execFileSync("mount", ["-t", "tmpfs", "outside", join(source, "from-host")]);
    try {
      writeFileSync(join(source, "done"), "");
      await container.exited;
      const output = container.output();
      const tags = lines(output)[0]?.split(" - ")[0]?.split(" ").slice(6) ?? [];
      return {
        tags: tags.map((tag) => tag.replace(/:\d+$/, "")),
        inward: /inward/.test(output),
        outward,
      };
    } finally {
      execFileSync("umount", [join(source, "from-host")]);
      spawnSync("umount", [join(source, "from-container")], { stdio: "ignore" });
    }
  }

  it("of a bind mount is private unless said otherwise", async () => {
    for (const words of [[], ["rprivate"], ["private"]]) {
      assert.deepEqual(await seen(words), { tags: [], inward: false, outward: false }, words.join());
    }
  });

  it("works both ways when shared, inwards only when a slave", async () => {
    for (const word of ["rshared", "shared"]) {
      assert.deepEqual(await seen([word]), { tags: ["shared"], inward: true, outward: true }, word);
    }
    for (const word of ["rslave", "slave"]) {
      assert.deepEqual(await seen([word]), { tags: ["master"], inward: true, outward: false }, word);
    }
    assert.deepEqual(await seen(["rslave", "rshared"]), {
      tags: ["shared", "master"],
      inward: true,
      outward: false,
    });
  });

  it("makes a mount that cannot be bound", async () => {
    for (const word of ["unbindable", "runbindable"]) {
      assert.deepEqual(await seen([word]), { tags: ["unbindable"], inward: false, outward: false }, word);
    }
    const rows = await table({
      spec: withMounts(
        { destination: "/t", type: "tmpfs", source: "tmpfs", options: ["unbindable"] },
        { destination: "/u", type: "tmpfs", source: "tmpfs", options: ["shared"] },
      ),
    });
    assert.deepEqual(rows["/t"]?.tags, ["unbindable"]);
    assert.match(rows["/u"]?.tags.join() ?? "", /^shared:\d+$/);
  });
});

describe("a remount", () => {
  it("changes attributes of what is there, and parameters of a file system that is the container's own", async () => {
    const source = sourceDirectory("remounted");
    const rows = await table({
      spec: withMounts(
        { destination: "/b", source, options: ["bind", "nosuid"] },
        { destination: "/b", source, options: ["bind", "remount", "ro", "nodev"] },
        { destination: "/t", type: "tmpfs", source: "tmpfs", options: ["size=64k", "noexec"] },
        { destination: "/t", type: "tmpfs", source: "tmpfs", options: ["remount", "size=128k", "nosuid"] },
        { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["remount", "size=1m"] },
      ),
    });
    assert.equal(sorted(rows["/b"]?.options ?? []), sorted(["ro", "nodev", "relatime"]));
    assert.equal(sorted(rows["/t"]?.options ?? []), sorted(["rw", "nosuid", "relatime"]));
    assert.ok(rows["/t"]?.parameters.includes("size=128k"), rows["/t"]?.parameters.join());
    assert.ok(rows["/dev/shm"]?.parameters.includes("size=1024k"));
  });

  it("is refused where nothing is mounted", async () => {
    for (const destination of ["/etc", "/nowhere"]) {
      const spec = withMounts({ destination, type: "tmpfs", options: ["remount", "ro"] });
      await assert.rejects(containers.run({ spec, args: ["true"] }), new RegExp(`remount ${destination}`));
    }
  });
});

describe("a mount's destination", () => {
  const tmpfs = (destination: string): SpecMount => ({ destination, type: "tmpfs", source: destination });

  it("may be relative, unclean, missing, or lead through links of the image", async () => {
    const rootfs = containers.makeRootfs("links");
    mkdirSync(join(rootfs, "real/place"), { recursive: true });
    symlinkSync("/real", join(rootfs, "absolute"));
    symlinkSync("../../../../real", join(rootfs, "real/up"));
    const rows = await table({
      launch: (launch) => {
        launch.rootfs = { kind: "directory", path: rootfs };
      },
      spec: withMounts(
        tmpfs("relative/one"),
        tmpfs("//un//clean/./x/"),
        tmpfs("/a/../b"),
        tmpfs("../../above"),
        tmpfs("/absolute/place"),
        tmpfs("/real/up/made/new"),
      ),
    });
    for (const point of ["/relative/one", "/un/clean/x", "/b", "/above", "/real/place", "/real/made/new"]) {
      assert.equal(rows[point]?.type, "tmpfs", point);
    }
    assert.ok(lstatSync(join(rootfs, "absolute")).isSymbolicLink());
    assert.ok(!existsSync(join(rootfs, "a")));
  });

  it("is mounted on in the order of the list", async () => {
    const first = sourceDirectory("first");
    const second = sourceDirectory("second");
    writeFileSync(join(first, "name"), "first\n");
    writeFileSync(join(second, "name"), "second\n");
    mkdirSync(join(second, "sub"), { recursive: true });
    const spec = withMounts(
      { destination: "/x/sub", source: first, options: ["bind"] },
      { destination: "/x", source: second, options: ["bind"] },
      { destination: "/y", source: second, options: ["bind"] },
      { destination: "/y/sub", source: first, options: ["bind"] },
    );
    const output = await containers.shell("cat /x/name /y/name /y/sub/name; ls /x/sub | wc -l", { spec });
    assert.deepEqual(lines(output), ["second", "second", "first", "0"]);
  });

  it("cannot be the root", async () => {
    for (const destination of ["/", "//", "/x/..", "."]) {
      await assert.rejects(
        containers.run({ spec: withMounts(tmpfs(destination)), args: ["true"] }),
        /mounts\[7\]\.destination: invalid mount destination \//,
      );
    }
  });
});

describe("control groups in a container", () => {
  const inNamespace = (own: boolean) => (spec: FullSpec) => {
    if (own) spec.linux.namespaces?.push({ type: "cgroup" });
  };
  const onV1 = readFileSync("/proc/self/mountinfo", "utf8").includes(" - cgroup ");

  it("of version 1 are its own only, with and without a namespace", { skip: !onV1 }, async () => {
    for (const own of [false, true]) {
      const script = `ls /sys/fs/cgroup | sort | tr '\\n' ' '; echo; cat /sys/fs/cgroup/pids/cgroup.procs | head -1
        grep pids: /proc/self/cgroup | sed 's/.*://'; (echo 1 > /sys/fs/cgroup/pids/pids.max) 2>/dev/null || echo closed
        grep -c ' - cgroup cgroup ' /proc/self/mountinfo`;
      const [names, first, path, written, count] = lines(
        await containers.shell(script, { spec: inNamespace(own) }),
      );
      for (const name of Object.keys(containers.cgroups.v1)) {
        if (!name.startsWith("name=")) assert.ok(names?.split(" ").includes(name), name);
      }
      assert.equal(first, "1");
      assert.equal(path === "/", own);
      assert.equal(written, "closed");
      assert.ok(Number(count) > 3);
    }
  });

  it("of version 2 are mounted, too", async () => {
    for (const own of [false, true]) {
      const rows = await table({
        spec: (spec) => {
          inNamespace(own)(spec);
          spec.mounts.push({ destination: "/unified", type: "cgroup2", source: "cgroup", options: ["ro"] });
        },
      });
      assert.equal(rows["/unified"]?.type, "cgroup2");
      assert.ok(rows["/unified"]?.options.includes("ro"));
    }
  });
});

describe("after all of this", () => {
  it("the host has none of these mounts", () => {
    const table = readFileSync("/proc/self/mountinfo", "utf8");
    for (const line of lines(table)) {
      const point = line.split(" ")[4] ?? "";
      const mine = point === shared || point.startsWith(`${shared}/recursive`);
      assert.ok(mine || !point.startsWith(`${containers.directory}/`), point);
    }
    assert.ok(readdirSync(containers.directory).length > 0);
  });
});

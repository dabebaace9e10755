/**
 * A daemon with aufs: what lies on its disk, what is mounted when, and that neither its own death nor that of the program that
 * serves the unions loses anything or leaves anybody hanging.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { archiveOf, type Item } from "#storage/testing/tar-entries.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { PrivateEtc } from "#test/fixtures/private-etc.ts";
import { unionPrograms } from "#test/fixtures/union-programs.ts";

const skip = process.geteuid?.() !== 0 ? "needs root" : !existsSync("/dev/fuse") && "needs FUSE (/dev/fuse)";

describe("a daemon with aufs", { skip }, () => {
  let daemon: TestDaemon;
  let home: string;
  before(async () => {
    daemon = await TestDaemon.start({ flags: ["-s", "aufs"], subnet: 87 });
    daemon.loadBusybox();
    home = join(daemon.dataRoot, "aufs");
  });
  after(() => daemon.stop());
  afterEach(() => {
    const ids = daemon.docker("ps", "-aq").stdout.split("\n").filter(Boolean);
    if (ids.length > 0) daemon.ok("rm", "-f", ...ids);
    assert.deepEqual(mounted(), []);
  });

  /** Ids of containers and layers whose roots are mounted. */
  const mounted = () =>
    execFileSync("cat", ["/proc/self/mountinfo"], { encoding: "utf8" })
      .split("\n")
      .map((line) => line.split(" ")[4] ?? "")
      .filter((path) => path.startsWith(`${home}/mnt/`))
      .map((path) => path.split("/").at(-1));
  const run = (...args: string[]) => daemon.ok("run", "--rm", "--network", "none", ...args);
  const background = (name: string, script = "sleep 1000", ...options: string[]) => {
    const args = ["run", "-d", "--name", name, "--network", "none", ...options];
    return daemon.ok(...args, "berth/busybox", "sh", "-c", script);
  };
  const own = (id: string, path: string) => join(home, "diff", id, path);

  test("docker info and inspect say what Docker's said", () => {
    const pairs = JSON.parse(daemon.ok("info", "--format", "{{json .DriverStatus}}")) as [string, string][];
    assert.deepEqual(
      pairs.map(([key]) => key),
      ["Root Dir", "Backing Filesystem", "Dirs", "Dirperm1 Supported"],
    );
    assert.equal(pairs[0]?.[1], home);
    assert.equal(Number(pairs[2]?.[1]), readdirSync(join(home, "layers")).length);
    daemon.ok("create", "--name", "idle", "berth/busybox");
    assert.equal(daemon.ok("inspect", "-f", "{{json .GraphDriver}}", "idle"), '{"Data":null,"Name":"aufs"}');
  });

  test("a root is mounted while its container runs, or somebody is at its files", () => {
    const id = background(
      "web",
      "echo hello >/made; rm /etc/group; echo more >>/etc/passwd; exec sleep 1000",
    );
    assert.deepEqual(mounted(), [id]);
    assert.match(daemon.ok("exec", "web", "grep", " / ", "/proc/mounts"), /fuse/);
    assert.equal(daemon.ok("exec", "web", "cat", "/made"), "hello");
    assert.equal(readFileSync(own(id, "made"), "utf8"), "hello\n");
    assert.ok(statSync(own(id, "etc/.wh.group")).isFile());
    assert.equal(
      daemon.ok("diff", "web").split("\n").sort().join(),
      "A /made,C /etc,C /etc/passwd,D /etc/group",
    );
    const below = readFileSync(join(home, "layers", id), "utf8")
      .trim()
      .split("\n");
    assert.equal(below[0], `${id}-init`);
    daemon.ok("stop", "-t", "0", "web");
    assert.deepEqual(mounted(), []);
    const copied = join(daemon.directory, "copied");
    writeFileSync(copied, "from outside");
    daemon.ok("cp", copied, "web:/etc/group");
    assert.deepEqual(mounted(), []);
    assert.equal(readFileSync(own(id, "etc/group"), "utf8"), "from outside");
    assert.ok(!existsSync(own(id, "etc/.wh.group")));
    daemon.ok("export", "-o", `${copied}.tar`, "web");
    assert.match(execFileSync("tar", ["-tf", `${copied}.tar`], { encoding: "utf8" }), /^made$/m);
    assert.deepEqual(mounted(), []);
    daemon.ok("start", "web");
    assert.equal(daemon.ok("exec", "web", "tail", "-n1", "/etc/passwd"), "more");
  });

  test("an image mounted in a container", () => {
    daemon.ok(
      "run",
      "--name",
      "change",
      "--network",
      "none",
      "berth/busybox",
      "sh",
      "-c",
      "rm /etc/group; echo x >/own",
    );
    daemon.ok("commit", "change", "changed");
    const mount = ["--mount", "type=image,source=changed,target=/image"];
    const ran = daemon.docker(
      ...["run", "--rm", "--network", "none", ...mount, "berth/busybox", "sh", "-c"],
      "cat /image/own; ls /image/etc/group /image/etc/.wh.group; touch /image/new",
    );
    assert.equal(ran.stdout, "x\n");
    assert.match(ran.stderr, /etc\/group: No such file/);
    assert.match(ran.stderr, /\.wh\.group: No such file/);
    assert.match(ran.stderr, /Read-only file system/);
  });

  test("containers go on without their daemon, killed or ended, and the next one has them", async () => {
    const script = "i=0; while sleep 0.1; do i=$((i+1)); echo $i >/next; mv /next /count; done";
    const id = background("goes-on", script);
    const ends = background("ends", "while test ! -e /stop; do sleep 0.1; done; echo last >/last");
    const count = () => Number(readFileSync(own(id, "count"), "utf8"));
    for (const signal of ["SIGKILL", "SIGTERM"] as const) {
      await daemon.kill(signal);
      await eventually(() => assert.ok(count() > 0));
      const before = count();
      await eventually(() => assert.ok(count() > before));
      await daemon.boot();
      assert.deepEqual(mounted().sort(), [id, ends].sort());
      assert.match(daemon.ok("exec", "goes-on", "cat", "/count"), /^\d+$/);
      assert.equal(daemon.ok("exec", "goes-on", "sh", "-c", "echo here >/here; cat /here"), "here");
    }
    // One that ends while no daemon is there: the next one takes its root away.
    const stop = daemon.dockerAsync("exec", "ends", "sh", "-c", "sleep 5; touch /stop");
    await eventually(() => assert.match(daemon.ok("top", "ends"), /sleep 5/));
    await daemon.kill("SIGKILL");
    await stop;
    await eventually(() => assert.ok(existsSync(own(ends, "last"))));
    await daemon.boot();
    await eventually(() => assert.deepEqual(mounted(), [id]));
    assert.equal(daemon.ok("inspect", "-f", "{{.State.ExitCode}}", "ends"), "0");
    daemon.ok("stop", "-t", "0", "goes-on");
    assert.ok(count() > 0);
  });

  test("the program that serves the unions is killed: nothing hangs, nothing that was written is lost", async () => {
    const id = background("orphan", "echo kept >/kept; echo more >>/etc/passwd; exec sleep 1000");
    background("other");
    await eventually(() => assert.ok(existsSync(own(id, "etc/passwd"))));
    const programs = unionPrograms(daemon.execRoot);
    assert.equal(programs.length, 1);
    for (const pid of programs) process.kill(pid, "SIGKILL");
    await eventually(() => assert.match(daemon.log(), /the program that serves unions has ended/));
    const reached = daemon.docker("exec", "orphan", "cat", "/kept");
    assert.notEqual(reached.code, 0, reached.stdout);
    // A new container finds a new program.
    assert.equal(run("berth/busybox", "echo", "well"), "well");
    assert.equal(daemon.ok("inspect", "-f", "{{.State.Running}}", "orphan"), "true");
    daemon.ok("stop", "-t", "0", "orphan");
    assert.equal(daemon.ok("diff", "orphan").split("\n").sort().join(), "A /kept,C /etc,C /etc/passwd");
    daemon.ok("start", "orphan");
    assert.equal(daemon.ok("exec", "orphan", "cat", "/kept"), "kept");
    daemon.ok("restart", "-t", "0", "other");
    assert.equal(daemon.ok("exec", "other", "echo", "again"), "again");
    daemon.ok("rm", "-f", "orphan", "other");
    assert.deepEqual(mounted(), []);
  });

  test("daemon and program are both killed", async () => {
    const id = background("alone", "echo kept >/kept; exec sleep 1000");
    await eventually(() => assert.ok(existsSync(own(id, "kept"))));
    await daemon.kill("SIGKILL");
    for (const pid of unionPrograms(daemon.execRoot)) process.kill(pid, "SIGKILL");
    await daemon.boot();
    daemon.ok("stop", "-t", "0", "alone");
    daemon.ok("start", "alone");
    assert.equal(daemon.ok("exec", "alone", "cat", "/kept"), "kept");
  });

  test("a layer below that vanished is named, and nothing is lost", () => {
    const id = background("stands", "echo precious >/kept; exec sleep 1000");
    daemon.ok("stop", "-t", "0", "stands");
    const below =
      readFileSync(join(home, "layers", id), "utf8")
        .trim()
        .split("\n")
        .at(-1) ?? "";
    const [here, away] = [join(home, "diff", below), join(daemon.directory, "away")];
    renameSync(here, away);
    try {
      const named = new RegExp(`layer ${below}, which ${id} stands on, is gone`);
      assert.match(daemon.refused("start", "stands"), named);
      assert.match(daemon.refused("diff", "stands"), named);
      assert.match(daemon.refused("commit", "stands", "never"), named);
      assert.match(
        daemon.refused("run", "--rm", "berth/busybox", "true"),
        new RegExp(`layer ${below}, which`),
      );
      const archive = join(daemon.directory, "never.tar");
      assert.match(
        daemon.refused("save", "-o", archive, "berth/busybox"),
        /layer sha256:[0-9a-f]{64} of image sha256:[0-9a-f]{64} is not there/,
      );
      assert.equal(existsSync(archive), false);
      assert.equal(readFileSync(own(id, "kept"), "utf8"), "precious\n");
    } finally {
      renameSync(away, here);
    }
    daemon.ok("start", "stands");
    assert.equal(daemon.ok("exec", "stands", "cat", "/kept"), "precious");
  });

  test("a layer made to do harm stays what it is: names in a root", () => {
    const inside = run("berth/busybox", "sh", "-c", "ls -a / | grep -v '^\\.dockerenv$'");
    const importing = (name: string, ...items: Item[]) =>
      daemon.dockerWith({ input: archiveOf(...items) }, "import", "-", name);
    const harmless = importing(
      "hostile:1",
      { name: ".wh.etc" },
      { name: ".wh..wh..opq" },
      { name: ".wh..wh.plnk", type: "directory" },
      { name: ".wh..wh.aufs", content: "x" },
      { name: "out", type: "symlink", linkName: "/../../.." },
      { name: "out/.wh.tmp" },
      { name: "../.wh.tmp" },
      { name: "link", type: "symlink", linkName: ".wh.etc" },
      { name: "f", content: "file" },
    );
    assert.notEqual(harmless.code, 0); // "../" leads out
    for (const name of [".wh.", ".wh..", ".wh...", ".wh.d/x", ".wh..wh..opq/x", ".wh..wh.orph/x"]) {
      const refused = importing("hostile:2", { name });
      assert.notEqual(refused.code, 0, name);
      assert.match(refused.stderr, /hides no valid name|AUFS keeps/, name);
    }
    const taken = importing(
      "hostile:3",
      { name: ".wh.etc" },
      { name: ".wh..wh..opq" },
      { name: ".wh..wh.plnk", type: "directory" },
      { name: ".wh..wh.aufs", content: "x" },
      { name: "out", type: "symlink", linkName: "/../../.." },
      { name: "out/.wh.tmp" },
      { name: "link", type: "symlink", linkName: ".wh.etc" },
      { name: "bin/.wh..wh..opq" },
      { name: "f", content: "file" },
    );
    assert.equal(taken.code, 0, taken.stderr);
    daemon.ok("create", "--name", "hostile", "hostile:3", "/f");
    const seen = join(daemon.directory, "hostile.tar");
    daemon.ok("export", "-o", seen, "hostile");
    const names = execFileSync("tar", ["-tf", seen], { encoding: "utf8" });
    assert.doesNotMatch(names, /\.wh\./);
    assert.match(names, /^f$/m);
    // Names that mark what is gone cannot be made, seen or reached from inside.
    const script =
      "touch /.wh.bin; mkdir /.wh..wh..opq; ln -s x /etc/.wh.passwd; mv /etc/group /etc/.wh.group; ls /bin/sh /etc/passwd /etc/group";
    assert.equal(
      run("berth/busybox", "sh", "-c", `${script} 2>/dev/null`),
      "/bin/sh\n/etc/group\n/etc/passwd",
    );
    assert.equal(run("berth/busybox", "sh", "-c", "ls -a / | grep -v '^\\.dockerenv$'"), inside);
    assert.ok(existsSync("/tmp"));
  });

  test("what cannot be kept is refused by name", () => {
    assert.match(
      daemon.refused("create", "--storage-opt", "size=1G", "berth/busybox"),
      /--storage-opt is not supported for aufs/,
    );
  });
});

describe("aufs with --userns-remap", { skip }, () => {
  test("files of a container are those of its users, in its layer and in the root that is mounted", async () => {
    const etc = new PrivateEtc({ subuid: "daemon:200000:65536\n", subgid: "daemon:200000:65536\n" });
    const daemon = await TestDaemon.start({
      flags: ["-s", "aufs", "--userns-remap", "daemon"],
      subnet: 88,
      through: etc.command,
    });
    try {
      daemon.loadBusybox();
      const script =
        "echo x >/own; chown 5:6 /own; echo more >>/etc/passwd; rm /etc/group; stat -c '%u:%g' /own /etc/passwd /";
      const ran = daemon.ok(
        "run",
        "--name",
        "work",
        "--network",
        "none",
        "berth/busybox",
        "sh",
        "-c",
        script,
      );
      assert.equal(ran, "5:6\n0:0\n0:0");
      const id = daemon.ok("inspect", "-f", "{{.Id}}", "work");
      const layer = join(daemon.dataRoot, "200000.200000/aufs/diff", id);
      const owner = (path: string) => {
        const { uid, gid } = statSync(join(layer, path));
        return `${uid}:${gid}`;
      };
      assert.deepEqual(["own", "etc/passwd", "."].map(owner), [
        "200005:200006",
        "200000:200000",
        "200000:200000",
      ]);
      assert.equal(
        daemon.ok("diff", "work").split("\n").sort().join(),
        "A /own,C /etc,C /etc/passwd,D /etc/group",
      );
      daemon.ok("commit", "work", "made");
      assert.equal(
        daemon.ok("run", "--rm", "--network", "none", "made", "stat", "-c", "%u:%g", "/own"),
        "5:6",
      );
    } finally {
      await daemon.stop();
      etc[Symbol.dispose]();
    }
  });
});

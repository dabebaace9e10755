/**
 * Volumes by the real docker command line: of the local driver, with options and without, and of plugins; across the ends of
 * containers and of the daemon.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { VolumePlugin } from "#test/fixtures/volume-plugin.ts";

const IMAGE = "berth/busybox";

describe("volumes", { skip: dockerCliMissing() }, () => {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await TestDaemon.start({ subnet: 63 });
    daemon.loadBusybox();
  });
  after(() => daemon?.stop());
  beforeEach(async () => {
    const ids = lines((await daemon.dockerAsync("ps", "-aq")).stdout);
    if (ids.length > 0) await daemon.dockerAsync("rm", "-f", ...ids);
    const names = lines((await daemon.dockerAsync("volume", "ls", "-q")).stdout);
    if (names.length > 0) await daemon.dockerAsync("volume", "rm", "-f", ...names);
  });

  const ok = (...args: string[]) => daemon.ok(...args);
  const refused = (...args: string[]) => daemon.refused(...args);
  const lines = (text: string) => text.split("\n").filter(Boolean).sort();
  const data = (name: string) => join(daemon.dataRoot, "volumes", name, "_data");
  /** File system types of what is mounted on a path of the host. */
  const mountedOn = (path: string) =>
    readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.split(" ")[4] === path)
      .map((line) => line.split(" - ")[1]?.split(" ")[0]);
  const run = (...args: string[]) => ok("run", "--rm", "--network", "none", ...args);
  const start = (name: string, ...args: string[]) =>
    ok("run", "-d", "--network", "none", "--name", name, ...args, IMAGE, "sleep", "1000");

  test("create, ls with every filter, inspect, rm", () => {
    assert.equal(ok("volume", "create", "--label", "tier=1", "--label", "bare", "one"), "one");
    assert.equal(ok("volume", "create", "one"), "one");
    ok("volume", "create", "two");
    start("user", "-v", "two:/x");
    const list = (...filters: string[]) =>
      lines(ok("volume", "ls", "-q", ...filters.flatMap((filter) => ["-f", filter])));
    assert.deepEqual(list(), ["one", "two"]);
    assert.deepEqual(list("label=tier"), ["one"]);
    assert.deepEqual(list("label=tier=1", "label=bare"), ["one"]);
    assert.deepEqual(list("label=tier=2"), []);
    assert.deepEqual(list("dangling=true"), ["one"]);
    assert.deepEqual(list("dangling=0"), ["two"]);
    assert.deepEqual(list("name=w"), ["two"]);
    assert.deepEqual(list("name=^o", "name=wo$"), ["one", "two"]);
    assert.deepEqual(list("driver=local"), ["one", "two"]);
    assert.deepEqual(list("driver=other"), []);
    assert.equal(refused("volume", "ls", "-f", "colour=red"), "invalid filter 'colour'");
    assert.equal(refused("volume", "ls", "-f", "dangling=maybe"), "invalid filter 'dangling=[maybe]'");
    const [shown] = JSON.parse(ok("volume", "inspect", "one"));
    const { CreatedAt, ...rest } = shown;
    assert.ok(Math.abs(Date.parse(CreatedAt) - Date.now()) < 600_000);
    assert.deepEqual(rest, {
      Driver: "local",
      Labels: { bare: "", tier: "1" },
      Mountpoint: data("one"),
      Name: "one",
      Options: null,
      Scope: "local",
    });
    const id = ok("inspect", "-f", "{{.Id}}", "user");
    assert.equal(refused("volume", "rm", "two"), `remove two: volume is in use - [${id}]`);
    assert.equal(refused("volume", "rm", "-f", "two"), `remove two: volume is in use - [${id}]`);
    ok("rm", "-f", "user");
    assert.deepEqual(lines(ok("volume", "rm", "one", "two")), ["one", "two"]);
    assert.equal(refused("volume", "rm", "one"), "get one: no such volume");
    assert.equal(ok("volume", "rm", "-f", "one"), "one");
    assert.deepEqual(readdirSync(join(daemon.dataRoot, "volumes")), []);
  });

  test("names and options that cannot be", () => {
    const characters = 'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed';
    const create = (...args: string[]) => refused("volume", "create", ...args);
    assert.ok(
      create("a/b").startsWith(
        `create a/b: "a/b" includes invalid characters for a local volume name, ${characters}`,
      ),
    );
    assert.ok(create("-x/../y".slice(1)).includes(characters));
    assert.ok(create("..").includes(characters));
    assert.match(create("x".repeat(256)), /volume name is too long/);
    assert.match(
      create("x"),
      /^create x: volume name is too short, names should be at least two alphanumeric/,
    );
    assert.equal(create("-o", "bogus=1", "vv"), 'create vv: invalid option: "bogus"');
    assert.equal(create("-o", "type=tmpfs", "vv"), 'create vv: missing required option: "device"');
    assert.equal(create("-o", "device=/x", "vv"), 'create vv: missing required option: "type"');
    assert.equal(create("-o", "o=ro", "vv"), 'create vv: missing required option: "device"');
    assert.match(
      create("-o", "size=10m", "vv"),
      /^create vv: quota size requested but no quota support: \/.* is on \w+/,
    );
    assert.equal(create("-o", "size=huge", "vv"), "create vv: invalid size: 'huge'");
    const cifs = ["-o", "type=cifs", "-o", "device=//host:445/x"];
    assert.equal(
      create(...cifs, "vv"),
      "create vv: port not allowed in CIFS device URL, include 'port' in 'o='",
    );
    assert.equal(
      create("-d", "nosuch", "vv"),
      'create vv: error looking up volume plugin nosuch: plugin "nosuch" not found',
    );
    assert.equal(
      refused("run", "--rm", "--volume-driver", "nosuch", "-v", "vv:/x", IMAGE),
      'create vv: error looking up volume plugin nosuch: plugin "nosuch" not found',
    );
    assert.ok(refused("run", "--rm", "-v", "a/b:/x", IMAGE).startsWith('create a/b: "a/b" includes invalid'));
    assert.equal(ok("volume", "ls", "-q"), "");
    assert.equal(ok("ps", "-aq"), "");
  });

  test("prune: unnamed ones, with -a all, by label; those with options never", () => {
    const anonymous = ok("volume", "create");
    for (const name of ["named", "kept"]) ok("volume", "create", "--label", `${name}=1`, name);
    ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory");
    writeFileSync(join(data("named"), "file"), "x".repeat(100_000));
    assert.match(ok("volume", "prune", "-f"), new RegExp(`^Deleted Volumes:\n${anonymous}\n`));
    assert.match(
      ok("volume", "prune", "-af", "--filter", "label!=kept"),
      /^Deleted Volumes:\nnamed\n\nTotal reclaimed space: 1\d\d/,
    );
    assert.deepEqual(lines(ok("volume", "ls", "-q")), ["kept", "memory"]);
    ok("volume", "prune", "-af", "--filter", "label=kept=1");
    assert.deepEqual(lines(ok("volume", "ls", "-q")), ["memory"]);
    assert.equal(refused("volume", "prune", "-f", "--filter", "bogus=1"), "invalid filter 'bogus'");
  });

  test("before version 1.42 prune takes what has a name, too", async () => {
    ok("volume", "create", "named");
    const { body } = await daemon.api("POST", "/v1.41/volumes/prune");
    assert.deepEqual(JSON.parse(body).VolumesDeleted, ["named"]);
  });

  test("a new volume gets what the image has there, with its owners; one with content or nocopy does not", () => {
    const dockerfile = [
      "mkdir -p /srv/sub",
      "chown 12:34 /srv /srv/sub",
      "chmod 2750 /srv",
      "echo image > /srv/f",
    ];
    ok("run", "--name", "maker", "--network", "none", IMAGE, "sh", "-c", dockerfile.join(" && "));
    ok("commit", "-c", "VOLUME /srv", "maker", "berth/with-volume");
    const look = "stat -c '%u:%g %a %n' /srv /srv/sub; cat /srv/f";
    assert.equal(
      ok("run", "--rm", "-v", "vol:/srv", "berth/with-volume", "sh", "-c", look),
      "12:34 2750 /srv\n12:34 755 /srv/sub\nimage",
    );
    writeFileSync(join(data("vol"), "f"), "changed\n");
    assert.equal(ok("run", "--rm", "-v", "vol:/srv", "berth/with-volume", "cat", "/srv/f"), "changed");
    assert.equal(ok("run", "--rm", "-v", "bare:/srv:nocopy", "berth/with-volume", "ls", "-A", "/srv"), "");
    assert.equal(ok("run", "--rm", "-v", "some:/srv/sub", "berth/with-volume", "cat", "/srv/f"), "image");
    const mount = (more: string) => `type=volume,src=other,dst=/srv${more}`;
    assert.equal(
      ok("run", "--rm", "--mount", mount(",volume-nocopy"), "berth/with-volume", "ls", "/srv"),
      "",
    );
    assert.equal(ok("run", "--rm", "--mount", mount(""), "berth/with-volume", "ls", "/srv"), "f\nsub");
    ok("rm", "maker");
    ok("rmi", "berth/with-volume");
  });

  test("unnamed volumes go with --rm and rm -v, but not while another container has them", () => {
    run("-v", "/x", "-v", "named:/y", IMAGE, "true");
    assert.deepEqual(lines(ok("volume", "ls", "-q")), ["named"]);
    start("first", "-v", "/x", "-v", "named:/y");
    start("second", "--volumes-from", "first");
    const [anonymous = ""] = lines(ok("volume", "ls", "-q")).filter((name) => name !== "named");
    assert.match(anonymous, /^[0-9a-f]{64}$/);
    assert.equal(
      ok("volume", "inspect", "-f", "{{json .Labels}}", anonymous),
      '{"com.docker.volume.anonymous":""}',
    );
    ok("rm", "-f", "-v", "first");
    ok("exec", "second", "touch", "/x/still");
    assert.equal(lines(ok("volume", "ls", "-q")).length, 2);
    ok("rm", "-f", "-v", "second");
    assert.deepEqual(lines(ok("volume", "ls", "-q")), ["named"]);
  });

  test("--volumes-from: of a stopped one, of several, read-only, and what it cannot be", () => {
    ok("create", "--name", "source", "-v", "one:/one", "-v", `${daemon.directory}/host:/host:ro`, IMAGE);
    ok("create", "--name", "other", "-v", "two:/two", "--mount", "type=tmpfs,dst=/memory", IMAGE);
    const from = ["--volumes-from", "source", "--volumes-from", "other:ro,z"];
    const mounts = ok(
      "run",
      "--rm",
      ...from,
      IMAGE,
      "sh",
      "-c",
      "touch /one/a; touch /two/a 2>&1; touch /host/a 2>&1; ls /memory; true",
    );
    assert.match(mounts, /^touch: \/two\/a: Read-only.*\ntouch: \/host\/a: Read-only/);
    ok("create", "--name", "taker", ...from, IMAGE);
    const shown = JSON.parse(ok("inspect", "-f", "{{json .Mounts}}", "taker")) as Record<string, unknown>[];
    // The command line sends a container's volumes in any order.
    const rows = shown.map(({ Type, Name, Destination, Mode, RW, Propagation }) => [
      Destination,
      Type,
      Name,
      Mode,
      RW,
      Propagation,
    ]);
    assert.deepEqual(rows.sort(), [
      ["/host", "bind", undefined, "", false, "rprivate"],
      ["/one", "volume", "one", "", true, ""],
      ["/two", "volume", "two", "", false, ""],
    ]);
    assert.equal(refused("create", "--volumes-from", "source:odd", IMAGE), "invalid mode: odd");
    assert.equal(refused("create", "--volumes-from", "source:nocopy", IMAGE), "invalid mode: nocopy");
    assert.equal(refused("create", "--volumes-from", "nosuch", IMAGE), "No such container: nosuch");
  });

  test("memory as a volume: one for all its users, gone after the last, and again at the next", () => {
    ok(
      "volume",
      "create",
      "-o",
      "type=tmpfs",
      "-o",
      "device=tmpfs",
      "-o",
      "o=size=2m,uid=12,gid=34,mode=0750",
      "memory",
    );
    assert.deepEqual(mountedOn(data("memory")), []);
    start("first", "-v", "memory:/m");
    start("second", "-v", "memory:/m", "-v", "memory:/again:ro");
    assert.equal(ok("exec", "first", "stat", "-c", "%u:%g %a", "/m"), "12:34 750");
    assert.match(ok("exec", "first", "df", "-k", "/m"), /tmpfs +2048 /);
    ok("exec", "first", "sh", "-c", "echo shared > /m/file");
    assert.equal(ok("exec", "second", "cat", "/again/file"), "shared");
    ok("rm", "-f", "first");
    assert.deepEqual(mountedOn(data("memory")), ["tmpfs"]);
    ok("rm", "-f", "second");
    assert.deepEqual(mountedOn(data("memory")), []);
    assert.equal(run("-v", "memory:/m", IMAGE, "ls", "/m"), "");
    ok("volume", "rm", "memory");
  });

  test("a directory as a volume: shown, written through, read-only if it is said, never deleted", () => {
    const host = join(daemon.directory, "host");
    mkdirSync(host, { recursive: true });
    writeFileSync(join(host, "precious"), "1");
    const create = (name: string, o: string, device = host) =>
      ok("volume", "create", "-o", "type=none", "-o", `device=${device}`, "-o", `o=${o}`, name);
    create("shown", "bind");
    create("closed", "bind,ro");
    create("nowhere", "bind", join(host, "nowhere"));
    run("-v", "shown:/x", IMAGE, "touch", "/x/new");
    assert.deepEqual(readdirSync(host), ["new", "precious"]);
    assert.match(
      refused("run", "--rm", "-v", "closed:/x", IMAGE, "touch", "/x/more"),
      /Read-only file system/,
    );
    assert.equal(
      refused("run", "--rm", "-v", "nowhere:/x", IMAGE),
      `error while mounting volume '${data("nowhere")}': failed to mount local volume: mount ${host}/nowhere:${data("nowhere")}, flags: 0x1000: no such file or directory`,
    );
    ok("volume", "rm", "shown", "closed", "nowhere");
    assert.deepEqual(readdirSync(host), ["new", "precious"]);
    assert.equal(ok("ps", "-aq"), "");
  });

  test("what is mounted in a volume is no part of it: removing the volume does not delete it", async () => {
    const host = join(daemon.directory, "behind");
    mkdirSync(host, { recursive: true });
    writeFileSync(join(host, "precious"), "1");
    ok("volume", "create", "-o", "type=none", "-o", `device=${host}`, "-o", "o=bind", "shown");
    start("user", "-v", "shown:/x");
    // As after a crash: it is mounted, and nobody uses it.
    const pid = Number(ok("inspect", "-f", "{{.State.Pid}}", "user"));
    await daemon.kill();
    process.kill(pid, "SIGKILL");
    await daemon.boot();
    await eventually(() => assert.deepEqual(mountedOn(data("shown")), []));
    ok("rm", "-f", "user");
    ok("volume", "rm", "shown");
    assert.deepEqual(readdirSync(host), ["precious"]);
  });

  test("a file system that the kernel does not have is called by its name", (context) => {
    if (readFileSync("/proc/filesystems", "utf8").includes("\tnfs\n")) {
      context.skip("this kernel has nfs");
      return;
    }
    ok("volume", "create", "-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=127.0.0.1,ro", "net");
    const message = refused("run", "--rm", "-v", "net:/x", IMAGE);
    const path = data("net");
    assert.ok(
      message.startsWith(
        `error while mounting volume '${path}': failed to mount local volume: mount :/x:${path}, flags: 0x1, data: addr=127.0.0.1: no such device`,
      ),
      message,
    );
    assert.match(message, /kernel has no file system of the type nfs/);
    const cifs = "o=username=u,password=secret,addr=127.0.0.1";
    ok("volume", "create", "-o", "type=cifs", "-o", "device=//server/share", "-o", cifs, "share");
    const hidden = refused("run", "--rm", "-v", "share:/x", IMAGE);
    assert.match(hidden, /password=\*{8},addr/);
    assert.doesNotMatch(hidden, /secret/);
  });

  test("a killed daemon finds volumes mounted that are used, and unmounts those that are not any more", async () => {
    const host = join(daemon.directory, "kept");
    mkdirSync(host, { recursive: true });
    ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory");
    ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "gone");
    ok("volume", "create", "-o", "type=none", "-o", `device=${host}`, "-o", "o=bind", "bound");
    start("stays", "-v", "memory:/m", "-v", "bound:/b");
    start("ends", "-v", "gone:/m", "-v", "memory:/n");
    ok("exec", "stays", "sh", "-c", "echo before > /m/file");
    const pid = Number(ok("inspect", "-f", "{{.State.Pid}}", "ends"));
    await daemon.kill();
    process.kill(pid, "SIGKILL");
    await eventually(() => assert.ok(!existsSync(`/proc/${pid}`)));
    await daemon.boot();
    await eventually(() => assert.deepEqual(mountedOn(data("gone")), []));
    assert.equal(ok("inspect", "-f", "{{.State.Status}}", "ends"), "exited");
    assert.deepEqual(mountedOn(data("memory")), ["tmpfs"]);
    assert.equal(mountedOn(data("bound")).length, 1);
    assert.equal(run("-v", "memory:/x", IMAGE, "cat", "/x/file"), "before");
    assert.deepEqual(mountedOn(data("memory")), ["tmpfs"]);
    assert.equal(ok("exec", "stays", "cat", "/m/file"), "before");
    ok("rm", "-f", "stays");
    assert.deepEqual(mountedOn(data("memory")), []);
    assert.deepEqual(mountedOn(data("bound")), []);
  });

  test("events of a volume's life", () => {
    const since = String(Date.now() / 1000 - 1);
    ok("volume", "create", "told");
    start("user", "-v", "told:/x:ro");
    const id = ok("inspect", "-f", "{{.Id}}", "user");
    ok("rm", "-f", "user");
    ok("volume", "rm", "told");
    const until = String(Date.now() / 1000);
    const format = "{{.Action}} {{.Actor.ID}} {{json .Actor.Attributes}}";
    const shown = ok(
      "events",
      "--since",
      since,
      "--until",
      until,
      "--filter",
      "volume=told",
      "--format",
      format,
    );
    assert.deepEqual(shown.split("\n"), [
      'create told {"driver":"local"}',
      `mount told {"container":"${id}","destination":"/x","driver":"local","propagation":"","read/write":"false"}`,
      `unmount told {"container":"${id}","driver":"local"}`,
      'destroy told {"driver":"local"}',
    ]);
  });

  test("system df counts what is in volumes, and who uses them", () => {
    ok("volume", "create", "idle");
    ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory");
    start("user", "-v", "busy:/x");
    writeFileSync(join(data("busy"), "file"), "x".repeat(50_000));
    const format = "{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}\n{{end}}";
    const shown = lines(ok("system", "df", "-v", "--format", format));
    assert.equal(shown.length, 2);
    assert.match(shown[0] ?? "", /^busy 1 50(\.\d+)?kB$/);
    assert.match(shown[1] ?? "", /^idle 0 0B$/);
    assert.match(
      ok("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}"),
      /^Local Volumes 2 1$/m,
    );
  });

  describe("of a plugin", () => {
    let plugin: VolumePlugin;
    before(async () => {
      plugin = await VolumePlugin.start({
        directory: join(daemon.directory, "shelf"),
        socket: join(daemon.execRoot, "plugins/shelf.sock"),
        scope: "global",
      });
    });
    after(() => plugin?.[Symbol.asyncDispose]());

    /** Without blocking this process, in which the plugin is. */
    async function docker(...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await daemon.dockerAsync(...args);
      assert.equal(code, 0, `docker ${args.join(" ")}: ${stderr}`);
      return stdout.trim();
    }

    test("made, filled, used, shown and removed", async () => {
      await docker("volume", "create", "-d", "shelf", "-o", "colour=red", "--label", "l=1", "book");
      assert.equal(
        await docker(
          "volume",
          "ls",
          "-f",
          "driver=shelf",
          "--format",
          "{{.Driver}} {{.Name}} {{.Scope}} {{.Labels}}",
        ),
        "shelf book global l=1",
      );
      const path = join(daemon.directory, "shelf/book");
      assert.equal(
        await docker("volume", "inspect", "-f", "{{.Mountpoint}} {{json .Options}} {{json .Status}}", "book"),
        `${path} {"colour":"red"} {"users":0}`,
      );
      await docker(
        "run",
        "-d",
        "--name",
        "reader",
        "--network",
        "none",
        "-v",
        "book:/etc",
        IMAGE,
        "sleep",
        "1000",
      );
      assert.equal(plugin.volumes.get("book")?.users.size, 1);
      assert.ok(existsSync(join(path, "passwd")));
      const shown = JSON.parse(await docker("inspect", "-f", "{{json .Mounts}}", "reader"));
      assert.deepEqual(shown, [
        {
          Type: "volume",
          Name: "book",
          Source: path,
          Destination: "/etc",
          Driver: "shelf",
          Mode: "",
          RW: true,
          Propagation: "",
        },
      ]);
      assert.match(await docker("info", "-f", "{{.Plugins.Volume}}"), /^\[local shelf\]$/);
      await docker("rm", "-f", "reader");
      assert.equal(plugin.volumes.get("book")?.users.size, 0);
      await docker("volume", "rm", "book");
      assert.equal(plugin.volumes.size, 0);
      assert.ok(!existsSync(path));
    });

    test("by --volume-driver and --mount, with what an image's volumes need", async () => {
      const run = (...args: string[]) => docker("run", "--rm", "--network", "none", ...args);
      await run("--volume-driver", "shelf", "-v", "one:/x", IMAGE, "touch", "/x/file");
      assert.deepEqual(readdirSync(join(daemon.directory, "shelf/one")), ["file"]);
      const mount = "type=volume,src=two,dst=/x,volume-driver=shelf,volume-opt=size=big,volume-label=k=v";
      await run("--mount", mount, IMAGE, "true");
      assert.deepEqual(plugin.volumes.get("two")?.options, { size: "big" });
      assert.equal(await docker("volume", "inspect", "-f", "{{json .Labels}}", "two"), '{"k":"v"}');
      plugin.asked.length = 0;
      await run("--volume-driver", "shelf", "-v", "/anonymous", IMAGE, "true");
      assert.deepEqual(plugin.calls, ["Create", "Mount", "Unmount", "Mount", "Unmount", "Remove"]);
      await docker("volume", "rm", "one", "two");
    });

    test("a daemon that was away gives back what ended meanwhile", async () => {
      const args = ["--network", "none", "-v", "kept:/x", "--volume-driver", "shelf"];
      await docker("run", "-d", "--name", "reader", ...args, IMAGE, "sleep", "1000");
      const pid = Number(await docker("inspect", "-f", "{{.State.Pid}}", "reader"));
      await daemon.kill();
      process.kill(pid, "SIGKILL");
      await daemon.boot();
      await eventually(() => assert.equal(plugin.volumes.get("kept")?.users.size, 0));
      await docker("rm", "reader");
      await docker("volume", "rm", "kept");
    });

    test("one that is dead is waited for by nobody else, and its volume can be forgotten", async () => {
      await docker("volume", "create", "-d", "shelf", "lost");
      await plugin.kill();
      assert.deepEqual(lines(await docker("volume", "ls", "-q")), ["lost"]);
      await docker("run", "--rm", "--network", "none", "-v", "fine:/x", IMAGE, "true");
      const { code, stderr } = await daemon.dockerAsync("run", "--rm", "-v", "lost:/x", IMAGE, "true");
      assert.equal(code, 125);
      assert.match(stderr, /error looking up volume plugin shelf: plugin "shelf" not found/);
      await docker("volume", "rm", "-f", "lost");
      assert.deepEqual(lines(await docker("volume", "ls", "-q")), ["fine"]);
      await plugin.listen();
      plugin.volumes.clear();
    });
  });
});

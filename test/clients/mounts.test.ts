/** Every kind of `--mount` and `-v` with every option, by the real docker command line: seen from inside, and what is refused. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
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
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";

describe("mounts", { skip: dockerCliMissing() }, () => {
  let daemon: TestDaemon;
  /** A directory of the host with a mount of its own below, which is shared with others. */
  let host: string;
  before(async () => {
    daemon = await TestDaemon.start({ subnet: 64 });
    daemon.loadBusybox();
    host = join(daemon.directory, "host");
    mkdirSync(host);
  });
  after(() => daemon?.stop());
  beforeEach(() => {
    mount("-t", "tmpfs", "tmpfs", host);
    mount("--make-shared", host);
    mkdirSync(join(host, "sub"));
    writeFileSync(join(host, "file"), "outer\n");
    mount("-t", "tmpfs", "tmpfs", join(host, "sub"));
    mount("--make-shared", join(host, "sub"));
    writeFileSync(join(host, "sub/file"), "inner\n");
  });
  afterEach(() => {
    const ids = ok("ps", "-aq").split("\n").filter(Boolean);
    if (ids.length > 0) ok("rm", "-f", "-v", ...ids);
    spawnSync("umount", ["-R", host]);
  });

  function mount(...args: string[]): void {
    const { status, stderr } = spawnSync("mount", args, { encoding: "utf8" });
    assert.equal(status, 0, stderr);
  }
  const ok = (...args: string[]) => daemon.ok(...args);
  const refused = (...args: string[]) => daemon.refused(...args);
  const run = (mount: string, script: string) =>
    ok("run", "--rm", "--network", "none", "--mount", mount, IMAGE, "sh", "-c", script);
  const refuse = (mount: string) => refused("run", "--rm", "--network", "none", "--mount", mount, IMAGE);
  /** Which of the two files of the host's mounts can be written to. */
  const writable = (mount: string) =>
    run(mount, "for f in /x/file /x/sub/file; do (echo >> $f) 2>/dev/null && echo $f; done; true");
  /** Status and message of a request to the API. */
  async function create(hostConfig: unknown, version = "v1.51"): Promise<[number, string]> {
    const body = { Image: IMAGE, HostConfig: hostConfig };
    const answer = await daemon.api("POST", `/${version}/containers/create`, body);
    return [answer.status, JSON.parse(answer.body).message];
  }

  test("a bind, read-only for all that is mounted below unless it is said otherwise", () => {
    const bind = `type=bind,src=${host},dst=/x`;
    assert.equal(writable(bind), "/x/file\n/x/sub/file");
    assert.equal(writable(`${bind},readonly`), "");
    assert.equal(writable(`${bind},readonly,bind-recursive=enabled`), "");
    assert.equal(writable(`${bind},readonly,bind-recursive=writable`), "/x/sub/file");
    assert.equal(writable(`${bind},readonly,bind-propagation=rprivate,bind-recursive=readonly`), "");
    assert.equal(run(`${bind},bind-recursive=disabled`, "ls /x/sub"), "");
    assert.equal(run(`${bind},bind-nonrecursive`, "ls /x/sub"), "");
    const ro = ok("run", "--rm", "-v", `${host}:/x:ro`, IMAGE, "sh", "-c", "(echo > /x/sub/file) 2>&1; true");
    assert.match(ro, /Read-only file system/);
  });

  test("clients from before version 1.44 meant the mount alone", async () => {
    for (const [version, answer] of [
      ["v1.43", "0"],
      ["v1.44", "1"],
    ] as const) {
      const body = {
        Image: IMAGE,
        Cmd: ["touch", "/x/sub/new"],
        HostConfig: { NetworkMode: "none", Binds: [`${host}:/x:ro`] },
      };
      const { body: made } = await daemon.api("POST", `/${version}/containers/create`, body);
      const { Id } = JSON.parse(made);
      ok("start", Id);
      assert.equal(ok("wait", Id), answer, version);
    }
  });

  test("the six propagations", () => {
    const kinds = (propagation: string) =>
      run(
        `type=bind,src=${host},dst=/x,bind-propagation=${propagation}`,
        `awk '$5 ~ "^/x" { print $5, ($7 == "-" ? "private" : $7) }' /proc/self/mountinfo | sed 's/:[0-9]*//'`,
      );
    const both = (kind: string) => `/x ${kind}\n/x/sub ${kind}`;
    assert.equal(kinds("rprivate"), both("private"));
    assert.equal(kinds("rshared"), both("shared"));
    assert.equal(kinds("rslave"), both("master"));
    // Of the mount alone; what is below is taken as it is.
    assert.match(kinds("private"), /^\/x private\n/);
    assert.match(kinds("shared"), /^\/x shared\n/);
    assert.match(kinds("slave"), /^\/x master\n/);
    const shown = ok("create", "-v", `${host}:/x:rslave,ro`, IMAGE);
    assert.deepEqual(JSON.parse(ok("inspect", "-f", "{{json .Mounts}}", shown)), [
      { Type: "bind", Source: host, Destination: "/x", Mode: "rslave,ro", RW: false, Propagation: "rslave" },
    ]);
  });

  test("mounts of the host come in, and those of the container get out, as far as it is shared", async () => {
    const start = (name: string, propagation: string) =>
      ok(
        "run",
        "-d",
        "--privileged",
        "--network",
        "none",
        "--name",
        name,
        "--mount",
        `type=bind,src=${host},dst=/x,bind-propagation=${propagation}`,
        IMAGE,
        "sleep",
        "1000",
      );
    start("shares", "rshared");
    start("follows", "rslave");
    start("keeps", "rprivate");
    mkdirSync(join(host, "later"));
    mount("-t", "tmpfs", "tmpfs", join(host, "later"));
    writeFileSync(join(host, "later/new"), "");
    const seen = (name: string) => ok("exec", name, "ls", "/x/later");
    assert.deepEqual(["shares", "follows", "keeps"].map(seen), ["new", "new", ""]);
    for (const name of ["follows", "keeps", "shares"]) {
      mkdirSync(join(host, name));
      ok("exec", name, "sh", "-c", `mount -t tmpfs tmpfs /x/${name} && touch /x/${name}/inside`);
    }
    await eventually(() => assert.deepEqual(readdirSync(join(host, "shares")), ["inside"]));
    assert.deepEqual(readdirSync(join(host, "follows")), []);
    assert.deepEqual(readdirSync(join(host, "keeps")), []);
  });

  test("a propagation that the source does not have", () => {
    const alone = join(daemon.directory, "alone");
    mkdirSync(alone, { recursive: true });
    mount("--bind", alone, alone);
    try {
      mount("--make-private", alone);
      const about = `path ${alone} is mounted on ${alone} but it is not a shared`;
      assert.equal(refuse(`type=bind,src=${alone},dst=/x,bind-propagation=rshared`), `${about} mount`);
      assert.equal(refuse(`type=bind,src=${alone},dst=/x,bind-propagation=slave`), `${about} or slave mount`);
    } finally {
      spawnSync("umount", [alone]);
    }
  });

  test("around the data root, unmounting on the host reaches the container", () => {
    const made = ok("create", "-v", "/:/x", IMAGE);
    assert.equal(ok("inspect", "-f", "{{(index .Mounts 0).Propagation}}", made), "rslave");
    assert.equal(ok("run", "--rm", "-v", "/:/x", IMAGE, "test", "-e", "/x/etc"), "");
    assert.equal(
      refuse(`type=bind,src=${daemon.dataRoot},dst=/x,bind-propagation=rprivate`),
      `invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root, daemon root: "${daemon.dataRoot}", bind mount source: "${daemon.dataRoot}", propagation: "rprivate"`,
    );
  });

  test("bind sources: files, sockets, what -v makes and --mount does not", async () => {
    assert.equal(run(`type=bind,src=${host}/file,dst=/new/name`, "cat /new/name"), "outer");
    assert.equal(run(`type=bind,src=${daemon.socket},dst=/d.sock`, "test -S /d.sock && echo yes"), "yes");
    const missing = join(daemon.directory, "missing/deep");
    assert.equal(
      refuse(`type=bind,src=${missing},dst=/x`),
      `invalid mount config for type "bind": bind source path does not exist: ${missing}`,
    );
    assert.ok(!existsSync(missing));
    ok("run", "--rm", "-v", `${missing}:/x`, IMAGE, "true");
    assert.ok(existsSync(missing));
    rmSync(missing, { recursive: true });
    const made = { Type: "bind", Source: missing, Target: "/x", BindOptions: { CreateMountpoint: true } };
    assert.equal((await create({ Mounts: [made] }))[0], 201);
    assert.equal((await create({ Mounts: [made] }, "v1.41"))[0], 400);
    const below = `${host}/file/below`;
    assert.match(refused("run", "--rm", "-v", `${below}:/x`, IMAGE), /not a directory/);
  });

  test("memory: size, mode, exec, read-only", async () => {
    const memory = (more: string, script: string) => run(`type=tmpfs,dst=/x${more}`, script);
    assert.match(memory(",tmpfs-size=3m", "df -k /x"), /tmpfs +3072 /);
    assert.equal(memory(",tmpfs-mode=0710", "stat -c %a /x"), "710");
    assert.equal(memory("", "stat -c %a /x"), "1777");
    assert.match(memory("", "grep ' /x ' /proc/mounts"), / rw,nosuid,nodev,noexec,/);
    assert.match(memory(",readonly", "touch /x/f 2>&1; true"), /Read-only/);
    assert.match(refuse("type=tmpfs,dst=/x,tmpfs-size=lots"), /invalid value for tmpfs-size: lots/);
    assert.match(refuse("type=tmpfs,dst=/x,tmpfs-mode=9"), /invalid value for tmpfs-mode: 9/);
    assert.match(refuse("type=tmpfs,dst=/x,tmpfs-size=99999999999999999999g"), /invalid argument|size=/);
    const options = (words: string[][]) => [
      { Type: "tmpfs", Target: "/x", TmpfsOptions: { Options: words } },
    ];
    assert.equal((await create({ Mounts: options([["exec"]]) }))[0], 201);
    assert.deepEqual(await create({ Mounts: options([["suid"]]) }), [
      400,
      'invalid mount config for type "tmpfs": invalid option: suid',
    ]);
    const made = ok("create", "--mount", "type=tmpfs,dst=/x,tmpfs-size=1m", "--tmpfs", "/t", IMAGE);
    assert.deepEqual(JSON.parse(ok("inspect", "-f", "{{json .Mounts}}", made)), [
      { Type: "tmpfs", Source: "", Destination: "/x", Mode: "", RW: true, Propagation: "" },
    ]);
  });

  test("a part of a volume, inside it whatever links say", () => {
    const data = join(daemon.dataRoot, "volumes/parts/_data");
    ok("volume", "create", "parts");
    mkdirSync(join(data, "a/b"), { recursive: true });
    writeFileSync(join(data, "a/b/file"), "deep\n");
    writeFileSync(join(data, "passwd"), "the volume's\n");
    symlinkSync("/etc", join(data, "out"));
    symlinkSync("../../../../../etc/passwd", join(data, "up"));
    symlinkSync("a", join(data, "inside"));
    const part = (subpath: string, script: string) =>
      run(`type=volume,src=parts,dst=/x,volume-subpath=${subpath}`, script);
    const refusePart = (subpath: string) => refuse(`type=volume,src=parts,dst=/x,volume-subpath=${subpath}`);
    assert.equal(part("a/b", "cat /x/file"), "deep");
    assert.equal(part("a/../a/b/file", "cat /x"), "deep");
    assert.equal(part("inside", "cat /x/b/file"), "deep");
    assert.equal(refusePart("out"), `cannot access path ${data}/out: no such file or directory`);
    assert.equal(refusePart("up"), `cannot access path ${data}/up: no such file or directory`);
    assert.equal(refusePart("none"), `cannot access path ${data}/none: no such file or directory`);
    const outside =
      'invalid mount config for type "volume": subpath must be a relative path within the volume';
    assert.equal(refusePart("../x"), outside);
    assert.equal(refusePart("a/../../x"), outside);
    assert.equal(refusePart("/a"), outside);
    ok("volume", "rm", "parts");
  });

  test("a volume made by --mount, with labels and options; the second time it is as it was", () => {
    const options = "volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m";
    const mount = `type=volume,src=made,dst=/x,volume-driver=local,volume-label=a=b,volume-label=c,${options}`;
    assert.match(run(mount, "df -k /x"), /tmpfs +1024 /);
    assert.match(run("type=volume,src=made,dst=/x,volume-label=other=1", "df -k /x"), /tmpfs +1024 /);
    assert.equal(ok("volume", "inspect", "-f", "{{json .Labels}}", "made"), '{"a":"b","c":""}');
    ok("volume", "rm", "made");
    const made = ok("create", "--mount", "src=plain,dst=/x,readonly", "--mount", "dst=/unnamed", IMAGE);
    const shown = JSON.parse(ok("inspect", "-f", "{{json .Mounts}}", made)) as Record<string, unknown>[];
    const volumes = join(daemon.dataRoot, "volumes");
    assert.deepEqual(
      shown.find(({ Destination }) => Destination === "/x"),
      {
        Type: "volume",
        Name: "plain",
        Source: join(volumes, "plain/_data"),
        Destination: "/x",
        Driver: "local",
        Mode: "z",
        RW: false,
        Propagation: "",
      },
    );
    assert.match(String(shown.find(({ Destination }) => Destination === "/unnamed")?.Name), /^[0-9a-f]{64}$/);
    ok("rm", "-v", made);
    ok("volume", "rm", "plain");
  });

  test("an image's files, all or a part of them, to look at only", async () => {
    ok(
      "run",
      "--name",
      "maker",
      "--network",
      "none",
      IMAGE,
      "sh",
      "-c",
      "mkdir /added; echo layer > /added/f; rm /etc/group",
    );
    ok("commit", "maker", "berth/two-layers");
    ok("rm", "maker");
    const image = "type=image,src=berth/two-layers,dst=/x";
    assert.equal(run(image, "cat /x/added/f; ls /x/etc"), "layer\npasswd\nshadow");
    assert.equal(run(`${image},image-subpath=added`, "ls /x"), "f");
    assert.match(run(image, "touch /x/new 2>&1; true"), /Read-only file system/);
    assert.match(
      run("type=image,src=berth/busybox,dst=/x", "touch /x/new 2>&1; true"),
      /Read-only file system/,
    );
    const here = ["--mount", image, "--mount", "type=image,src=berth/busybox,dst=/y"];
    ok("run", "-d", "--network", "none", "--name", "looker", ...here, IMAGE, "sleep", "1000");
    assert.equal(ok("exec", "looker", "sh", "-c", "ls -d /x/added /y/etc/group"), "/x/added\n/y/etc/group");
    const shown = JSON.parse(ok("inspect", "-f", "{{json .Mounts}}", "looker")) as Record<string, unknown>[];
    const { Source, ...first } = shown.find(({ Destination }) => Destination === "/x") ?? {};
    assert.deepEqual(first, {
      Type: "image",
      Name: "berth/two-layers",
      Destination: "/x",
      Mode: "",
      RW: false,
      Propagation: "rprivate",
    });
    assert.ok(existsSync(join(String(Source), "added/f")));
    assert.match(
      refused("rmi", "berth/two-layers"),
      /conflict: unable to remove repository reference.* container/,
    );
    assert.match(ok("cp", "looker:/x/added/f", "-"), /\0layer\n/);
    // The daemon goes and comes: it stays mounted, and is unmounted at the end.
    await daemon.kill();
    await daemon.boot();
    assert.equal(ok("exec", "looker", "cat", "/x/added/f"), "layer");
    const pid = Number(ok("inspect", "-f", "{{.State.Pid}}", "looker"));
    await daemon.kill();
    process.kill(pid, "SIGKILL");
    await daemon.boot();
    const mounted = () =>
      readFileSync("/proc/self/mountinfo", "utf8").includes(join(daemon.dataRoot, "image-mounts"));
    await eventually(() => assert.ok(!mounted()));
    ok("start", "looker");
    assert.ok(mounted());
    ok("rm", "-f", "looker");
    await eventually(() => assert.ok(!mounted()));
    ok("rmi", "berth/two-layers");
    assert.match(refuse("type=image,src=nosuch,dst=/x"), /^No such image: nosuch:latest/);
    assert.match(
      refuse("type=image,src=berth/busybox,dst=/x,image-subpath=nosuch"),
      /^cannot access path .*\/nosuch: no such file or directory$/,
    );
  });

  test("what cannot be mounted, with Docker's words", async () => {
    const about = (type: string, why: string) => `invalid mount config for type "${type}": ${why}`;
    assert.equal(refuse("type=npipe,src=/a,dst=/x"), about("npipe", "mount type unknown"));
    assert.equal(refuse("type=cluster,src=a,dst=/x"), about("cluster", "mount type unknown"));
    const cases: [unknown, string][] = [
      [{ Type: "bind", Target: "/x" }, about("bind", "field Source must not be empty")],
      [{ Type: "bind", Source: "/a" }, about("bind", "field Target must not be empty")],
      [
        { Type: "bind", Source: "rel", Target: "/x" },
        about("bind", "invalid mount path: 'rel' mount path must be absolute"),
      ],
      [
        { Type: "volume", Source: "vv", Target: "rel" },
        about("volume", "invalid mount path: 'rel' mount path must be absolute"),
      ],
      [
        { Type: "volume", Source: "vv", Target: "/x/../" },
        about("volume", "invalid specification: destination can't be '/'"),
      ],
      [
        { Type: "bind", Source: host, Target: "/x", VolumeOptions: {} },
        about("bind", "field VolumeOptions must not be specified"),
      ],
      [
        { Type: "volume", Source: "vv", Target: "/x", BindOptions: {} },
        about("volume", "field BindOptions must not be specified"),
      ],
      [
        { Type: "volume", Target: "/x", ReadOnly: true },
        about("volume", "must not set ReadOnly mode when using anonymous volumes"),
      ],
      [
        { Type: "volume", Target: "/x", VolumeOptions: { Subpath: "a" } },
        about("volume", "must not set Subpath when using anonymous volumes"),
      ],
      [{ Type: "tmpfs", Source: "/a", Target: "/x" }, about("tmpfs", "field Source must not be specified")],
      [
        { Type: "bind", Source: host, Target: "/x", BindOptions: { Propagation: "odd" } },
        about("bind", "invalid propagation mode: odd"),
      ],
      [
        { Type: "bind", Source: host, Target: "/x", BindOptions: { ReadOnlyNonRecursive: true } },
        "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive",
      ],
      [{ Target: "/x" }, about("", "mount type unknown")],
    ];
    for (const [mount, message] of cases) {
      assert.deepEqual(await create({ Mounts: [mount] }), [400, message], JSON.stringify(mount));
    }
    const spec = (text: string, why = "") => `invalid volume specification: '${text}'${why && `: ${why}`}`;
    const binds: [string, string][] = [
      ["/a:/b:ro:x", spec("/a:/b:ro:x")],
      ["", spec("")],
      [":/x", spec(":/x")],
      ["/x:ro", spec("/x:ro")],
      ["/a:/b:ro,rw", "invalid mode: ro,rw"],
      ["/a:/b:quick", "invalid mode: quick"],
      ["/a:b", spec("/a:b", about("bind", "invalid mount path: 'b' mount path must be absolute"))],
      ["/a:/", spec("/a:/", about("bind", "invalid specification: destination can't be '/'"))],
      ["vv:/x:rslave", spec("vv:/x:rslave", about("volume", "field BindOptions must not be specified"))],
      ["/a:/x:nocopy", spec("/a:/x:nocopy", about("bind", "field VolumeOptions must not be specified"))],
    ];
    for (const [bind, message] of binds) {
      assert.deepEqual(await create({ Binds: [bind] }), [400, message], bind);
    }
    const twice = ["/a:/x", "/b:/x/"];
    assert.deepEqual(await create({ Binds: twice }), [400, "Duplicate mount point: /x"]);
    assert.deepEqual(await create({ Binds: ["/a:/x"], Tmpfs: { "/x": "" } }), [
      400,
      "Duplicate mount point: /x",
    ]);
    const memory = [{ Type: "tmpfs", Target: "/x" }];
    assert.deepEqual(await create({ Binds: ["/a:/x"], Mounts: memory }), [400, "Duplicate mount point: /x"]);
    const [status, text] = await create({ Mounts: [{ Type: "tmpfs", Target: 5 }] });
    assert.equal(status, 400);
    assert.match(text, /Target/);
    assert.equal(ok("volume", "ls", "-q"), "");
  });

  test("what a version of the API does not have yet", async () => {
    const recursive = {
      Type: "bind",
      Source: host,
      Target: "/x",
      ReadOnly: true,
      BindOptions: { ReadOnlyForceRecursive: true },
    };
    assert.deepEqual(await create({ Mounts: [recursive] }, "v1.43"), [
      400,
      "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
    ]);
    const part = { Type: "volume", Source: "vv", Target: "/x", VolumeOptions: { Subpath: "a" } };
    assert.deepEqual(await create({ Mounts: [part] }, "v1.44"), [
      400,
      "VolumeOptions.Subpath needs API v1.45 or newer",
    ]);
  });
});

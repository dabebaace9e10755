/**
 * `--userns-remap` by the real docker command line: root of a container is a subordinate user of the host, its files are
 * that user's, and images, archives and listings are the same as without. Ranges and users are in an /etc that only the
 * daemons here see.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { type Ran, TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { PrivateEtc } from "#test/fixtures/private-etc.ts";
import { TestRegistry } from "#test/fixtures/registry.ts";

const BERTHD = resolve(import.meta.dirname, "../../bin/berthd");
const BASE = 200_000;
const SIZE = 65_536;
const RANGE = `daemon:${BASE}:${SIZE}\n`;
const REMAP = ["--userns-remap", "daemon"];

const skip = process.geteuid?.() !== 0 ? "needs root" : dockerCliMissing();

function succeeded({ code, stdout, stderr }: Ran): string {
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

/** Uid and gid on the host. */
function owner(path: string): string {
  const { uid, gid } = statSync(path);
  return `${uid}:${gid}`;
}

/** Of an archive: "uid/gid name". */
function owners(archive: Buffer | string, wanted: RegExp): string[] {
  const listed = spawnSync("tar", ["--numeric-owner", "-tvf", "-"], { input: archive, encoding: "utf8" });
  return listed.stdout
    .split("\n")
    .map((line) => line.split(/\s+/))
    .map((words) => `${words[1]} ${words[5]}`)
    .filter((line) => wanted.test(line));
}

describe("a daemon with --userns-remap", { skip }, () => {
  let etc: PrivateEtc;
  let daemon: TestDaemon;
  let root: string;
  const docker = (...args: string[]) => succeeded(daemon.docker(...args));
  const run = (...args: string[]) => docker("run", "--rm", "--network", "none", ...args);
  const shell = (script: string, ...options: string[]) =>
    run(...options, "berth/busybox", "sh", "-c", script);
  const background = (name: string, ...options: string[]) =>
    docker("run", "-d", "--name", name, "--network", "none", ...options, "berth/busybox", "sleep", "1000");
  const pidOf = (name: string) => docker("inspect", "-f", "{{.State.Pid}}", name);
  const binary = (...args: string[]): Buffer =>
    spawnSync("docker", args, { env: daemon.environment, maxBuffer: 1 << 28, timeout: 60_000 }).stdout;

  before(async () => {
    etc = new PrivateEtc({ subuid: RANGE, subgid: RANGE });
    daemon = await TestDaemon.start({ subnet: 81, through: etc.command, flags: REMAP });
    root = join(daemon.dataRoot, `${BASE}.${BASE}`);
    daemon.loadBusybox();
  });
  after(async () => {
    await daemon?.stop();
    etc?.[Symbol.dispose]();
  });

  test("is told by info, with its own root", () => {
    const info = JSON.parse(docker("info", "-f", "{{json .}}"));
    assert.ok(info.SecurityOptions.includes("name=userns"), info.SecurityOptions);
    assert.equal(info.DockerRootDir, root);
  });

  test("root inside is nobody of note outside", () => {
    assert.equal(
      shell("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '"),
      `0 ${BASE} ${SIZE}\n 0 ${BASE} ${SIZE}`,
    );
    background("sleeper");
    const status = readFileSync(`/proc/${pidOf("sleeper")}/status`, "utf8");
    assert.match(status, new RegExp(`^Uid:\\t${BASE}\\t${BASE}\\t${BASE}\\t${BASE}$`, "m"));
    assert.match(status, new RegExp(`^Gid:\\t${BASE}\\t`, "m"));
    assert.match(docker("top", "sleeper"), new RegExp(`^${BASE} `, "m"));
    assert.equal(docker("exec", "sleeper", "id", "-u"), "0");
    docker("rm", "-f", "sleeper");
  });

  test("files of the host's root cannot be written, and private ones not be read", () => {
    const [file, secret] = ["file", "secret"].map((name) => join(daemon.directory, name)) as [string, string];
    writeFileSync(file, "as it was\n", { mode: 0o644 });
    writeFileSync(secret, "secret", { mode: 0o600 });
    const binds = ["-v", `${file}:/file`, "-v", `${secret}:/secret`];
    const text = shell(
      "stat -c %u:%g /file; cat /file; echo x >/file || chown 0 /file || chmod 666 /file || cat /secret || echo no",
      ...binds,
    );
    assert.equal(text, "65534:65534\nas it was\nno");
    assert.equal(readFileSync(file, "utf8"), "as it was\n");
  });

  test("everything stored belongs to the remapped root; logs stay root's", () => {
    background("stored", "-v", "data:/bin", "-v", `${daemon.directory}/made/here:/here`);
    const id = docker("inspect", "-f", "{{.Id}}", "stored");
    const remapped = `${BASE}:${BASE}`;
    assert.equal(owner(root), `0:${BASE}`);
    assert.equal(statSync(root).mode & 0o7777, 0o710);
    const volume = join(root, "volumes/data/_data");
    for (const path of [
      volume,
      join(volume, "sh"),
      join(daemon.directory, "made"),
      join(daemon.directory, "made/here"),
    ]) {
      assert.equal(owner(path), remapped, path);
    }
    for (const name of ["hosts", "hostname", "resolv.conf"]) {
      assert.equal(owner(join(root, "containers", id, name)), remapped, name);
    }
    assert.equal(owner(join(root, "containers", id, `${id}-json.log`)), "0:0");
    const upper = docker("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "stored");
    if (upper !== "<no value>") assert.equal(owner(upper), remapped);
    docker("exec", "stored", "sh", "-c", "echo x >/etc/hosts; touch /here/own; chown 7:8 /bin/sh");
    assert.equal(owner(join(daemon.directory, "made/here/own")), remapped);
    assert.equal(owner(join(volume, "sh")), `${BASE + 7}:${BASE + 8}`);
    assert.equal(shell("ls -ldn /etc/hosts /root /tmp /.dockerenv | awk '{print $3$4}' | sort -u"), "00");
    docker("rm", "-f", "-v", "stored");
    docker("volume", "rm", "data");
  });

  test("what else a container has, it has here", () => {
    const text = shell(
      `stat -c '%u:%g %a' /dev/shm /scratch /dev/pts
       ls -ln /dev/null /dev/renamed | awk '{print $3, $4, $5, $6}'; echo x >/dev/null
       touch /no 2>/dev/null || echo read-only; touch /dev/shm/x /scratch/x && echo both
       cat /proc/1/comm; stat -fc %T /sys /proc; cat /proc/sys/kernel/hostname; ls /sys/class/net`,
      ...["--read-only", "--init", "--tmpfs", "/scratch:mode=755,uid=5", "--hostname", "inside"],
      ...["--device", "/dev/zero:/dev/renamed"],
    );
    assert.deepEqual(text.split("\n"), [
      ...["0:0 1777", "5:0 755", "0:0 755"],
      ...["65534 65534 1, 3", "65534 65534 1, 5"],
      ...["read-only", "both", "docker-init", "sysfs", "proc", "inside", "lo"],
    ]);
    const network = docker("run", "--rm", "berth/busybox", "ping", "-c1", "-W5", daemon.gateway);
    assert.match(network, /1 packets received/);
  });

  test("consoles and pipes belong to the process' user", () => {
    const tty = (...options: string[]) =>
      docker("run", "--rm", "-t", ...options, "berth/busybox", "sh", "-c", "stat -c %u:%g $(tty)");
    assert.equal(tty(), "0:5");
    assert.equal(tty("-u", "1000"), "1000:5");
    assert.equal(shell("echo out >/dev/stdout; echo err >/dev/stderr; id -u", "-u", "1000"), "out\n1000");
    background("console");
    assert.equal(docker("exec", "-t", "-u", "7", "console", "sh", "-c", "stat -c %u $(tty)"), "7");
    assert.equal(docker("exec", "-u", "7", "console", "sh", "-c", "echo x >/dev/stdout"), "x");
    docker("rm", "-f", "console");
  });

  test("what takes the host's rights is refused, but with --userns=host", () => {
    const refused: [string[], string][] = [
      [
        ["--privileged"],
        "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
      ],
      [["--network", "host"], "cannot share the host's network namespace when user namespaces are enabled"],
      [["--pid", "host"], "cannot share the host PID namespace when user namespaces are enabled"],
    ];
    for (const [options, message] of refused) {
      const { code, stderr } = daemon.docker("run", "--rm", ...options, "berth/busybox", "true");
      assert.deepEqual(
        [code, stderr.includes(`Error response from daemon: ${message}\n`)],
        [125, true],
        stderr,
      );
      docker("run", "--rm", "--userns", "host", ...options, "berth/busybox", "true");
    }
  });

  test("an unknown mode is refused", async () => {
    const body = { Image: "berth/busybox", HostConfig: { UsernsMode: "private" } };
    const answer = await daemon.api("POST", "/containers/create", body);
    assert.deepEqual(
      [answer.status, JSON.parse(answer.body)],
      [400, { message: "invalid userns mode: private" }],
    );
  });

  test("--userns=host: the host's root, among files with shifted owners", () => {
    background("plain", "--userns", "host");
    assert.equal(docker("inspect", "-f", "{{.HostConfig.UsernsMode}}", "plain"), "host");
    const text = docker(
      "exec",
      "plain",
      "sh",
      "-c",
      "cat /proc/self/uid_map | tr -s ' '; stat -c %u /bin; touch /own; stat -c %u /own",
    );
    assert.equal(text, `0 0 4294967295\n${BASE}\n0`);
    const { code, stderr } = daemon.docker("commit", "plain", "plain:1");
    assert.deepEqual(
      [code, stderr],
      [1, "Error response from daemon: Host ID 0 cannot be mapped to a container ID\n"],
    );
    docker("exec", "plain", "rm", "/own");
    docker("commit", "plain", "plain:1");
    docker("rm", "-f", "plain");
    docker("rmi", "plain:1");
  });

  test("namespaces are shared within one user namespace", () => {
    background("first", "--ipc", "shareable");
    const same = (kind: string, pid: string) =>
      spawnSync("readlink", [`/proc/${pid}/ns/${kind}`], { encoding: "utf8" }).stdout;
    for (const kind of ["network", "ipc", "pid"]) {
      docker(
        "run",
        "-d",
        "--name",
        "second",
        `--${kind}`,
        "container:first",
        "berth/busybox",
        "sleep",
        "1000",
      );
      assert.equal(same("user", pidOf("second")), same("user", pidOf("first")), kind);
      assert.equal(docker("exec", "second", "id", "-u"), "0");
      docker("rm", "-f", "second");
    }
    docker("exec", "first", "touch", "/dev/shm/shared");
    const ipc = docker("run", "--rm", "--ipc", "container:first", "berth/busybox", "ls", "/dev/shm");
    assert.equal(ipc, "shared");
    assert.match(docker("run", "--rm", "--pid", "container:first", "berth/busybox", "ps"), /sleep 1000/);
    background("beside", "--userns", "host");
    const { stderr } = daemon.docker("run", "--rm", "--pid", "container:beside", "berth/busybox", "true");
    assert.match(stderr, /cannot share the namespaces of a container that runs in the host's user namespace/);
    docker("run", "--rm", "--userns", "host", "--pid", "container:first", "berth/busybox", "true");
    docker("rm", "-f", "first", "beside");
    background("alone");
    const id = docker("inspect", "-f", "{{.Id}}", "alone");
    const refused = daemon.docker("run", "--rm", "--ipc", "container:alone", "berth/busybox", "true");
    assert.ok(
      refused.stderr.includes(`can't join IPC of container ${id}: non-shareable IPC`),
      refused.stderr,
    );
    docker("rm", "-f", "alone");
  });

  test("archives have the owners that are seen inside, both ways", () => {
    background("files", "--tmpfs", "/scratch");
    docker("exec", "files", "sh", "-c", "touch /own; chown 7:8 /own");
    assert.deepEqual(owners(binary("cp", "files:/own", "-"), /own/), ["7/8 own"]);
    assert.deepEqual(owners(binary("export", "files"), / own$|bin\/sh$/), ["0/0 bin/sh", "7/8 own"]);
    assert.deepEqual(
      docker("diff", "files")
        .split("\n")
        .filter((line) => line.includes("own")),
      ["A /own"],
    );
    const from = join(daemon.directory, "from");
    mkdirSync(from, { recursive: true });
    writeFileSync(join(from, "new"), "new");
    for (const place of ["/etc", "/scratch"]) {
      docker("cp", join(from, "new"), `files:${place}`);
      assert.equal(docker("exec", "files", "stat", "-c", "%u:%g", `${place}/new`), "0:0");
    }
    const archive = spawnSync("tar", ["--owner=7", "--group=8", "-C", from, "-c", "new"]).stdout;
    succeeded(daemon.dockerWith({ input: archive }, "cp", "-a", "-", "files:/tmp"));
    assert.equal(docker("exec", "files", "stat", "-c", "%u:%g", "/tmp/new"), "7:8");
    const beyond = spawnSync("tar", ["--owner=70000", "--group=0", "-C", from, "-c", "new"]).stdout;
    const { stderr } = daemon.dockerWith({ input: beyond }, "cp", "-a", "-", "files:/tmp");
    assert.match(stderr, /Container ID 70000 cannot be mapped to a host ID/);
    docker("rm", "-f", "files");
  });

  test("a committed image is what it would be without", () => {
    docker(
      "run",
      "--name",
      "made",
      "--network",
      "none",
      "berth/busybox",
      "sh",
      "-c",
      "touch /own; chown 7:8 /own; mkdir /dir; rm /bin/cat",
    );
    docker("commit", "made", "made:1");
    assert.equal(docker("run", "--rm", "made:1", "stat", "-c", "%u:%g", "/own", "/dir"), "7:8\n0:0");
    const directory = join(daemon.directory, "saved");
    mkdirSync(directory);
    const unpacked = spawnSync("tar", ["-x", "-C", directory], { input: binary("save", "made:1") });
    assert.equal(unpacked.status, 0);
    const layers =
      (JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8")) as { Layers: string[] }[])[0]
        ?.Layers ?? [];
    const top = readFileSync(join(directory, layers.at(-1) ?? ""));
    assert.deepEqual(owners(top, /own|dir|wh/).sort(), ["0/0 bin/.wh.cat", "0/0 dir/", "7/8 own"]);
    docker("rm", "made");
    docker("rmi", "made:1");
  });

  test("an exec and the end of a container come through a restart of the daemon", async () => {
    background("kept", "--ipc", "shareable");
    background("joined", "--ipc", "container:kept");
    await daemon.kill("SIGTERM");
    await daemon.boot();
    for (const name of ["kept", "joined"]) {
      const map = docker(
        "exec",
        "-u",
        "7",
        name,
        "sh",
        "-c",
        "id -u; tr -s ' ' </proc/self/uid_map; echo x >/dev/stdout",
      );
      assert.equal(map, `7\n 0 ${BASE} ${SIZE}\nx`, name);
    }
    assert.equal(docker("kill", "kept"), "kept");
    docker("rm", "-f", "kept", "joined");
  });
});

describe("a daemon before, with, and after --userns-remap", { skip }, () => {
  test("has the same images, each mode its own things", async () => {
    using etc = new PrivateEtc({ subuid: RANGE, subgid: RANGE });
    const flags: string[] = [];
    const daemon = new TestDaemon({ subnet: 82, through: etc.command, flags });
    const mode = async (...wanted: string[]) => {
      await daemon.kill("SIGTERM");
      flags.splice(0, flags.length, ...wanted);
      await daemon.boot();
    };
    const docker = (...args: string[]) => succeeded(daemon.docker(...args));
    const saved = () =>
      spawnSync("docker", ["save", "berth/busybox"], { env: daemon.environment, maxBuffer: 1 << 28 }).stdout;
    const layers = () => docker("inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", "berth/busybox");
    try {
      await daemon.boot();
      daemon.loadBusybox();
      docker("run", "-d", "--name", "outlives", "--network", "none", "berth/busybox", "sleep", "1000");
      docker("volume", "create", "before");
      const [image, archive] = [layers(), saved()];
      await mode(...REMAP);
      assert.deepEqual(
        [docker("ps", "-aq"), docker("images", "-q"), docker("volume", "ls", "-q")],
        ["", "", ""],
      );
      daemon.loadBusybox();
      assert.equal(layers(), image);
      assert.ok(saved().equals(archive), "the saved archive is another one");
      docker("volume", "create", "with");
      await mode();
      assert.deepEqual([docker("volume", "ls", "-q"), layers()], ["before", image]);
      assert.equal(docker("exec", "outlives", "id", "-u"), "0");
      await mode(...REMAP);
      assert.deepEqual([docker("volume", "ls", "-q"), layers()], ["with", image]);
      docker("volume", "rm", "with");
      await mode();
    } finally {
      await daemon.stop();
    }
  });

  test("pushes the same as another one, and pulls it with its own owners", async () => {
    using etc = new PrivateEtc({ subuid: RANGE, subgid: RANGE });
    await using registry = await TestRegistry.start();
    const insecure = ["--insecure-registry", registry.host];
    const image = `${registry.host}/busybox`;
    const plain = new TestDaemon({ subnet: 82, flags: insecure });
    const mapped = new TestDaemon({ subnet: 83, through: etc.command, flags: [...REMAP, ...insecure] });
    try {
      const digests = [];
      for (const daemon of [plain, mapped]) {
        await daemon.boot();
        daemon.loadBusybox();
        succeeded(daemon.docker("tag", "berth/busybox", image));
        digests.push(/sha256:\w+/.exec(succeeded(daemon.docker("push", image)))?.[0]);
      }
      assert.match(digests[0] ?? "", /^sha256:/);
      assert.equal(digests[0], digests[1]);
      succeeded(mapped.docker("rmi", "berth/busybox", image));
      succeeded(mapped.docker("pull", image));
      const owners = mapped.docker(
        "run",
        "--rm",
        "--network",
        "none",
        image,
        "stat",
        "-c",
        "%u:%g",
        "/bin/sh",
        "/etc",
      );
      assert.equal(succeeded(owners), "0:0\n0:0");
    } finally {
      await plain.stop();
      await mapped.stop();
    }
  });

  test("vfs keeps layers with mapped owners, too", async () => {
    using etc = new PrivateEtc({ subuid: RANGE, subgid: RANGE });
    const daemon = await TestDaemon.start({
      subnet: 83,
      through: etc.command,
      flags: [...REMAP, "-s", "vfs"],
    });
    const docker = (...args: string[]) => succeeded(daemon.docker(...args));
    try {
      daemon.loadBusybox();
      docker(
        "run",
        "--name",
        "made",
        "--network",
        "none",
        "berth/busybox",
        "sh",
        "-c",
        "touch /own; chown 7:8 /own",
      );
      assert.equal(docker("diff", "made"), "A /own");
      docker("commit", "made", "made:1");
      assert.equal(
        docker("run", "--rm", "--network", "none", "made:1", "stat", "-c", "%u:%g", "/own", "/bin"),
        "7:8\n0:0",
      );
      const layers = join(daemon.dataRoot, `${BASE}.${BASE}`, "vfs/dir");
      // Those of the last container go behind its end.
      await eventually(() => {
        for (const name of readdirSync(layers))
          assert.equal(owner(join(layers, name, "bin")), `${BASE}:${BASE}`);
      });
    } finally {
      await daemon.stop();
    }
  });

  test("several ranges are one after the other inside", async () => {
    const lines = "# a remark\ndaemon:200000:10\ndaemon:300000:1000\n";
    using etc = new PrivateEtc({ subuid: lines, subgid: lines });
    const daemon = await TestDaemon.start({
      subnet: 84,
      through: etc.command,
      flags: ["--userns-remap", "1:adm"],
    });
    try {
      daemon.loadBusybox();
      const text = succeeded(
        daemon.docker(
          "run",
          "--rm",
          "berth/busybox",
          "sh",
          "-c",
          "tr -s ' ' </proc/self/uid_map; touch /x; chown 20 /x; stat -c %u /x; ping -c1 -W5 $(ip route | awk '/default/ {print $3}') | grep -c ttl",
        ),
      );
      assert.equal(text, "0 200000 10\n 10 300000 1000\n20\n1");
    } finally {
      await daemon.stop();
    }
  });
});

describe("--userns-remap, at the start", { skip }, () => {
  /** What a daemon that doesn't start says. */
  function refusal(value: string, files: Record<string, string> = {}): string {
    using etc = new PrivateEtc({ subuid: "", subgid: "", ...files });
    const directory = join("/tmp", `berth-remap-refused-${process.pid}`);
    const roots = [
      "--data-root",
      `${directory}/data`,
      "--exec-root",
      `${directory}/run`,
      "-H",
      `unix://${directory}/s`,
    ];
    const [program = "", ...args] = [...etc.command, BERTHD, ...roots, "--userns-remap", value];
    const { status, stderr } = spawnSync(program, args, {
      encoding: "utf8",
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    assert.equal(status, 1, stderr);
    assert.equal(existsSync(directory), false, "something was made");
    return (
      stderr
        .split("\n")
        .find((line) => line.startsWith("berthd: "))
        ?.slice("berthd: ".length) ?? stderr
    );
  }

  const refused: [string, Record<string, string>, string][] = [
    [
      "nosuch",
      {},
      'Error during uid lookup for "nosuch": getent unable to find entry "nosuch" in passwd database',
    ],
    [
      "99999",
      {},
      'Uid 99999 has no entry in /etc/passwd: getent unable to find entry "99999" in passwd database',
    ],
    [
      "daemon:nosuch",
      {},
      'Error during groupname lookup for "nosuch": getent unable to find entry "nosuch" in group database',
    ],
    [
      "daemon:99999",
      {},
      'Gid 99999 has no entry in /etc/passwd: getent unable to find entry "99999" in group database',
    ],
    ["a:b:c", {}, 'Invalid user/group specification in --userns-remap: "a:b:c"'],
    ["daemon", {}, `Can't create ID mappings: no subuid ranges found for user "daemon"`],
    ["daemon", { subuid: RANGE }, `Can't create ID mappings: no subgid ranges found for user "daemon"`],
    [
      "daemon",
      { subuid: "daemon\n" },
      "Can't create ID mappings: Cannot parse subuid/gid information: Format not correct for /etc/subuid file",
    ],
    [
      "daemon",
      { subuid: "daemon:x:y\n" },
      `Can't create ID mappings: String to int conversion failed during subuid/gid parsing of /etc/subuid: strconv.Atoi: parsing "x": invalid syntax`,
    ],
  ];
  for (const [value, files, message] of refused) {
    test(`${value} is refused: ${message}`, () => assert.equal(refusal(value, files), message));
  }

  test("root is nobody to map to: the option is off, and says so", async () => {
    using etc = new PrivateEtc();
    const daemon = await TestDaemon.start({
      subnet: 85,
      through: etc.command,
      flags: ["--userns-remap", "root"],
    });
    try {
      assert.match(daemon.log(), /root cannot be remapped with itself; user namespaces are OFF/);
      assert.equal(succeeded(daemon.docker("info", "-f", "{{.DockerRootDir}}")), daemon.dataRoot);
    } finally {
      await daemon.stop();
    }
  });

  test("default makes a user with free ranges, once", async () => {
    const taken = "somebody:100000:65536\n";
    using etc = new PrivateEtc({ subuid: taken, subgid: "" });
    const daemon = await TestDaemon.start({
      subnet: 86,
      through: etc.command,
      flags: ["--userns-remap", "default"],
    });
    try {
      const ranges = () => [etc.read("subuid"), etc.read("subgid")];
      assert.deepEqual(ranges(), [`${taken}dockremap:165536:65536\n`, "dockremap:100000:65536\n"]);
      assert.match(etc.read("passwd"), /^dockremap:x:\d+:\d+::\/nonexistent:\/bin\/false$/m);
      assert.match(etc.read("group"), /^dockremap:/m);
      assert.equal(
        succeeded(daemon.docker("info", "-f", "{{.DockerRootDir}}")),
        `${daemon.dataRoot}/165536.100000`,
      );
      await daemon.kill("SIGTERM");
      await daemon.boot();
      assert.deepEqual(ranges(), [`${taken}dockremap:165536:65536\n`, "dockremap:100000:65536\n"]);
      assert.doesNotMatch(readFileSync("/etc/passwd", "utf8"), /dockremap/);
    } finally {
      await daemon.stop();
    }
  });
});

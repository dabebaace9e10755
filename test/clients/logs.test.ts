/** Container logs through docker's command line: drivers, options, rotation, and a daemon that goes away. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { streamServer } from "#logs/testing/servers.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 41 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

function run(name: string, options: string[], script: string): string {
  const args = ["run", "-d", "--network", "none", "--name", name, ...options, IMAGE, "sh", "-c", script];
  const ran = daemon.docker(...args);
  assert.equal(ran.code, 0, ran.stderr);
  return ran.stdout.trim();
}

function inspect(name: string, format: string): string {
  return daemon.docker("inspect", "-f", format, name).stdout.trim();
}

const directoryOf = (id: string) => join(daemon.dataRoot, "containers", id);
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `line ${from + n}\n`).join("");

test("json-file: files of max-size, max-file of them, compressed behind the container's back", async () => {
  const options = "max-size=4k max-file=5 compress=true".split(" ").flatMap((one) => ["--log-opt", one]);
  const id = run("rotated", options, "seq 300 | sed 's/^/line /'");
  assert.equal(daemon.docker("wait", "rotated").stdout, "0\n");
  const names = () => readdirSync(directoryOf(id)).filter((name) => name.startsWith(id));
  await eventually(() => {
    assert.deepEqual(
      names().sort(),
      ["", ".1.gz", ".2.gz", ".3.gz", ".4.gz"].map((end) => `${id}-json.log${end}`),
    );
  });
  const text = daemon.docker("logs", "rotated").stdout;
  assert.ok(numbers(1, 300).endsWith(text) && text.split("\n").length > 100);
  assert.equal(daemon.docker("logs", "-n", "150", "rotated").stdout, numbers(151, 300));
  for (const name of names()) assert.equal(statSync(join(directoryOf(id), name)).mode & 0o777, 0o640);
  const oldest = gunzipSync(readFileSync(join(directoryOf(id), `${id}-json.log.4.gz`))).toString();
  assert.match(oldest, /^\{"log":"line \d+\\n","stream":"stdout","time":"[^"]+Z"\}\n/);
});

test("labels, variables and the tag are in every entry, and shown by --details", () => {
  run(
    "detailed",
    [
      ...["-l", "a=1", "-l", "com.x=y z", "-l", "other=3", "-e", "E=x/y", "-e", "FOO=f"],
      ...["--log-opt", "labels=a", "--log-opt", "labels-regex=^com", "--log-opt", "env=E"],
      ...["--log-opt", "env-regex=^F", "--log-opt", "tag={{.Name}}/{{.ImageName}}/{{.ID}}"],
    ],
    "echo hello",
  );
  daemon.docker("wait", "detailed");
  const id = inspect("detailed", "{{.Id}}");
  const [line = ""] = readFileSync(inspect("detailed", "{{.LogPath}}"), "utf8").split("\n");
  assert.deepEqual(JSON.parse(line).attrs, {
    E: "x/y",
    FOO: "f",
    a: "1",
    "com.x": "y z",
    tag: `detailed/${IMAGE}/${id.slice(0, 12)}`,
  });
  assert.equal(
    daemon.docker("logs", "--details", "detailed").stdout,
    `E=x%2Fy,FOO=f,a=1,com.x=y+z,tag=detailed%2Fberth%2Fbusybox%2F${id.slice(0, 12)} hello\n`,
  );
});

test("local: Docker's format and place, lines of any length, no path in inspect", () => {
  const id = run(
    "local",
    ["--log-driver", "local"],
    "printf 'a\\nb\\n'; head -c 40000 /dev/zero | tr '\\0' x; echo; echo bad >&2; printf end",
  );
  daemon.docker("wait", "local");
  assert.equal(
    inspect("local", "{{.LogPath}}|{{json .HostConfig.LogConfig}}"),
    '|{"Type":"local","Config":{}}',
  );
  assert.equal(statSync(join(directoryOf(id), "local-logs")).mode & 0o777, 0o700);
  const ran = daemon.docker("logs", "local");
  assert.equal(ran.stdout, `a\nb\n${"x".repeat(40000)}\nend`);
  assert.equal(ran.stderr, "bad\n");
  assert.match(daemon.docker("logs", "-t", "-n", "1", "local").stdout, /^\d{4}-[\d:.T-]{24}Z end$/);
});

test("local: five files of 20 MiB at most", async () => {
  const id = run(
    "large",
    ["--log-driver", "local"],
    "yes 0123456789012345678901234567890123456789 | head -n 1500000",
  );
  assert.equal(daemon.docker("wait", "large").stdout, "0\n");
  const names = () => readdirSync(join(directoryOf(id), "local-logs")).sort();
  await eventually(() => {
    assert.deepEqual(
      names(),
      ["", ".1.gz", ".2.gz", ".3.gz", ".4.gz"].map((end) => `container.log${end}`),
    );
  });
  assert.ok(statSync(join(directoryOf(id), "local-logs/container.log")).size <= 20 * 1024 * 1024 + 100);
  const { stdout } = daemon.docker("logs", "-n", "1000000", "large");
  assert.equal(stdout.length, 41 * 1_000_000);
});

test("followers see every line once while files are rotated and compressed", async () => {
  const options = "max-size=3k max-file=1000 compress=true".split(" ").flatMap((one) => ["--log-opt", one]);
  run(
    "followed",
    options,
    "for i in 1 2 3 4 5 6; do seq $((i*300-299)) $((i*300)) | sed 's/^/line /'; sleep 0.5; done",
  );
  const [first, second] = await Promise.all([
    daemon.dockerAsync("logs", "-f", "followed"),
    daemon.dockerAsync("logs", "-f", "--since", "1h", "followed"),
  ]);
  assert.equal(first.stdout, numbers(1, 1800));
  assert.equal(second.stdout, numbers(1, 1800));
});

for (const driver of ["json-file", "local"]) {
  test(`${driver}: the daemon is killed while files are rotated: every line is there once`, async () => {
    const options = ["--log-driver", driver, "--log-opt", "max-size=5k", "--log-opt", "max-file=500"];
    const name = `killed-${driver}`;
    run(
      name,
      options,
      "i=0; while [ $i -lt 20 ]; do seq $((i*100+1)) $((i*100+100)) | sed 's/^/line /'; i=$((i+1)); sleep 0.1; done",
    );
    await sleep(300);
    await daemon.kill("SIGKILL");
    await sleep(700);
    await daemon.boot();
    const following = await daemon.dockerAsync("logs", "-f", name);
    assert.equal(following.stdout, numbers(1, 2000));
    assert.equal(daemon.docker("logs", name).stdout, numbers(1, 2000));
  });
}

test("syslog: the daemon is killed in the middle of output: nothing is lost, and docker logs has it all", async () => {
  await using server = await streamServer();
  const options = ["--log-driver", "syslog", "--log-opt", `syslog-address=tcp://127.0.0.1:${server.port}`];
  run(
    "shipped",
    [...options, "--log-opt", "cache-max-size=20k", "--log-opt", "cache-max-file=100"],
    "i=0; while [ $i -lt 20 ]; do seq $((i*100+1)) $((i*100+100)) | sed 's/^/line /'; i=$((i+1)); sleep 0.1; done",
  );
  // What was sent just before the kill may be sent again: where it got to is stored afterwards.
  const got = () =>
    server
      .bytes()
      .toString()
      .split("\n")
      .filter(Boolean)
      .map((line) => `${line.replace(/^.*?\]: /, "")}\n`)
      .filter((line, at, all) => all.indexOf(line) === at)
      .join("");
  await eventually(() => assert.ok(got().includes("line 400\n")));
  await daemon.kill("SIGKILL");
  await sleep(500);
  await daemon.boot();
  daemon.docker("wait", "shipped");
  await eventually(() => assert.equal(got(), numbers(1, 2000)));
  assert.equal(daemon.docker("logs", "shipped").stdout, numbers(1, 2000));
});

test("a destination that isn't there holds up nothing: not the start, not the output, not the removal", async () => {
  const options = ["--log-driver", "fluentd", "--log-opt", "fluentd-address=127.0.0.1:1"];
  run("unheard", options, "seq 5000; echo end");
  assert.equal(daemon.docker("wait", "unheard").stdout, "0\n");
  assert.match(daemon.docker("logs", "-n", "1", "unheard").stdout, /^end$/m);
  assert.equal(daemon.docker("rm", "unheard").code, 0);
  assert.equal(daemon.docker("inspect", "unheard").code, 1);
});

test("a removed container's last output still arrives", async () => {
  await using server = await streamServer();
  const address = `gelf-address=tcp://127.0.0.1:${server.port}`;
  const ran = daemon.docker(
    ...["run", "--rm", "--network", "none", "--log-driver", "gelf", "--log-opt", address],
    ...[IMAGE, "echo", "last words"],
  );
  assert.equal(ran.stdout, "last words\n");
  await eventually(() => assert.match(server.bytes().toString(), /"short_message":"last words"/));
});

test("with the cache off docker logs has nothing to read", () => {
  const address = "gelf-address=udp://127.0.0.1:9";
  run(
    "uncached",
    ["--log-driver", "gelf", "--log-opt", address, "--log-opt", "cache-disabled=true"],
    "echo x",
  );
  daemon.docker("wait", "uncached");
  assert.match(
    daemon.docker("logs", "uncached").stderr,
    /configured logging driver does not support reading/,
  );
});

test("a container that goes on writes on in its log", () => {
  run("again", ["--log-driver", "local"], "echo run");
  daemon.docker("wait", "again");
  daemon.docker("start", "again");
  daemon.docker("wait", "again");
  assert.equal(daemon.docker("logs", "again").stdout, "run\nrun\n");
});

test("what can't be read says so", () => {
  run("silent", ["--log-driver", "none"], "echo x");
  daemon.docker("wait", "silent");
  const ran = daemon.docker("logs", "silent");
  assert.deepEqual(
    [ran.code, ran.stderr],
    [1, "Error response from daemon: configured logging driver does not support reading\n"],
  );
  assert.equal(inspect("silent", "{{.LogPath}}"), "");
});

test("info tells the drivers and the default", () => {
  const format = "{{.LoggingDriver}} {{json .Plugins.Log}}";
  assert.equal(
    daemon.docker("info", "-f", format).stdout,
    'json-file ["fluentd","gelf","journald","json-file","local","splunk","syslog"]\n',
  );
});

/** Options, and what Docker says to them. */
const refused: [string, string][] = [
  ["--log-driver foo", 'error looking up logging plugin foo: plugin "foo" not found'],
  ["--log-opt x=1", "unknown log opt 'x' for json-file log driver"],
  ["--log-driver local --log-opt x=1", "unknown log opt 'x' for log driver local"],
  ["--log-driver gelf", "gelf-address is a required parameter"],
  ["--log-opt mode=foo", "logger: logging mode not supported: foo"],
  [
    "--log-opt max-buffer-size=1m",
    "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
  ],
  ["--log-opt max-size=abc", "failed to initialize logging driver: invalid size: 'abc'"],
  ["--log-opt max-size=0", "failed to initialize logging driver: max-size must be a positive number"],
  ["--log-opt tag={{", "failed to initialize logging driver: template: log-tag:1: unclosed action"],
  [
    "--log-opt tag={{.Foo}}",
    'failed to initialize logging driver: template: log-tag:1:2: executing "log-tag" at <.Foo>: can\'t evaluate field Foo in type *logger.Info',
  ],
  [
    "--log-opt labels-regex=(",
    "failed to initialize logging driver: error parsing regexp: missing closing ): `(`",
  ],
];
test("what makes no sense is refused in Docker's words", () => {
  for (const [options, text] of refused) {
    const ran = daemon.docker("run", "--rm", "--network", "none", ...options.split(" "), IMAGE, "true");
    assert.equal(ran.code, 125, options);
    assert.equal(ran.stderr.split("\n")[0], `docker: Error response from daemon: ${text}`);
  }
});

test("a daemon's own driver and options are containers' where these say nothing else", async () => {
  const flags = "--log-driver local --log-opt max-size=1m --log-opt cache-max-file=2".split(" ");
  const other = await TestDaemon.start({ subnet: 43, flags });
  try {
    other.loadBusybox();
    const config = (...options: string[]) => {
      const { stdout } = other.docker("create", ...options, IMAGE, "true");
      return JSON.parse(
        other.docker("inspect", "-f", "{{json .HostConfig.LogConfig}}", stdout.trim()).stdout,
      );
    };
    assert.deepEqual(config(), { Type: "local", Config: { "max-size": "1m", "cache-max-file": "2" } });
    assert.deepEqual(config("--log-driver", "local", "--log-opt", "max-size=2m"), {
      Type: "local",
      Config: { "max-size": "2m", "cache-max-file": "2" },
    });
    assert.deepEqual(config("--log-driver", "json-file"), {
      Type: "json-file",
      Config: { "cache-max-file": "2" },
    });
    assert.equal(other.docker("info", "-f", "{{.LoggingDriver}}").stdout, "local\n");
  } finally {
    await other.stop();
  }
});

test("a daemon doesn't start with a default that makes no sense", async () => {
  const other = new TestDaemon({ subnet: 44, flags: ["--log-opt", "x=1"] });
  try {
    await assert.rejects(
      other.boot(),
      /failed to set log opts: unknown log opt 'x' for json-file log driver/,
    );
  } finally {
    rmSync(other.directory, { recursive: true, force: true });
  }
});

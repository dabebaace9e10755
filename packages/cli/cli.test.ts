import assert from "node:assert/strict";
import { test } from "node:test";
import { humanDuration } from "#cli/durations.ts";
import { type Flag, parseFlags, parseInteger } from "#cli/flags.ts";
import { fullName, registryOf, splitImageName, withDefaultTag } from "#cli/image-name.ts";
import { progressBar, showProgress } from "#cli/output/progress.ts";
import { startFailureCode } from "#cli/run/make-container.ts";
import { parseMemory } from "#cli/sizes.ts";
import { parseTime } from "#cli/times.ts";
import { parseDuration } from "#go-values/duration.ts";
import { humanSize } from "#go-values/size.ts";

test("flags: both forms, bundles, values glued or not, the end of flags", () => {
  const flags: Flag[] = [
    { name: "tty", short: "t", type: "bool", help: "" },
    { name: "interactive", short: "i", type: "bool", help: "" },
    { name: "publish", short: "p", type: "list", many: true, help: "" },
    { name: "number", short: "n", type: "int", parse: parseInteger, help: "" },
  ];
  const argv = ["-itp80:80", "--publish=1:1", "-p", "2", "--number", "0x10", "image", "-x", "--tty=false"];
  const values = parseFlags(flags, argv, { interspersed: false });
  assert.deepEqual(values.list("publish"), ["80:80", "1:1", "2"]);
  assert.deepEqual(
    [values.bool("tty"), values.bool("interactive"), values.value("number")],
    [true, true, 16],
  );
  assert.deepEqual(values.positional, ["image", "-x", "--tty=false"]);
  assert.deepEqual(parseFlags(flags, ["a", "-t", "--", "-i"], { interspersed: true }).positional, [
    "a",
    "-i",
  ]);
  assert.equal(parseFlags(flags, ["-it=false"], { interspersed: true }).bool("tty"), false);
  assert.throws(() => values.bool("nope"), /no flag --nope/);
});

test("sizes in and out", () => {
  assert.equal(parseMemory("1.5GiB"), 1_610_612_736);
  assert.equal(parseMemory("64"), 64);
  assert.equal(parseMemory("64 KB"), 65_536);
  assert.throws(() => parseMemory("64x"), /^Error: invalid suffix: 'x'$/);
  assert.throws(() => parseMemory("x"), /^Error: invalid size: 'x'$/);
  assert.throws(() => parseMemory("-1m"), /^Error: invalid size: '-1m'$/);
  assert.throws(() => parseMemory("1.5.2g"), /^Error: strconv.ParseFloat: parsing "1.5.2": invalid syntax$/);
  const shown = [0, 999, 1000, 1234, 4_430_000, 999_999, 1_234_567_890].map((size) => humanSize(size, 3));
  assert.deepEqual(shown, ["0B", "999B", "1kB", "1.23kB", "4.43MB", "1e+03kB", "1.23GB"]);
});

test("durations in and out", () => {
  assert.equal(parseDuration("1h1m1.5s"), 3_661_500_000_000);
  assert.throws(() => parseDuration("5"), /missing unit/);
  const seconds = [
    0,
    1,
    59,
    60,
    119,
    120,
    3599,
    5400,
    47 * 3600,
    86_400 * 3,
    86_400 * 20,
    86_400 * 90,
    86_400 * 800,
  ];
  assert.deepEqual(
    seconds.map((length) => humanDuration(length * 1000)),
    [
      ["Less than a second", "1 second", "59 seconds", "About a minute", "About a minute", "2 minutes"],
      ["59 minutes", "2 hours", "47 hours", "3 days", "2 weeks", "3 months", "2 years"],
    ].flat(),
  );
});

test("image names", () => {
  assert.deepEqual(splitImageName("localhost:5000/a"), { repository: "localhost:5000/a", tag: "" });
  assert.deepEqual(splitImageName("h:1/a:b"), { repository: "h:1/a", tag: "b" });
  assert.deepEqual(splitImageName("a:b@sha256:12"), { repository: "a", tag: "sha256:12" });
  assert.equal(withDefaultTag("h:1/a"), "h:1/a:latest");
  assert.deepEqual(["busybox", "a/b:1", "localhost:5000/a", "docker.io/x", "q.io/x@sha256:1"].map(fullName), [
    "docker.io/library/busybox:latest",
    "docker.io/a/b:1",
    "localhost:5000/a:latest",
    "docker.io/library/x:latest",
    "q.io/x@sha256:1",
  ]);
  assert.equal(registryOf("localhost/a"), "localhost");
  assert.equal(registryOf("a/b"), "https://index.docker.io/v1/");
});

test("times: dates, seconds, and how long ago", () => {
  const now = Date.parse("2026-01-02T03:04:05Z");
  assert.equal(parseTime("", now), "");
  assert.equal(parseTime("1700000000.5", now), "1700000000.5");
  assert.equal(parseTime("1m30s", now), `${now / 1000 - 90}.000000000`);
  assert.equal(parseTime("2026-01-02T03:04:05.000000006Z", now), `${now / 1000}.000000006`);
  assert.equal(parseTime("2026-01-02T04:04+01:00", now), `${now / 1000 - 5}.000000000`);
  assert.throws(() => parseTime("yesterday", now));
});

test("progress: lines without a terminal, rewritten lines with one, an error ends it", async () => {
  async function* messages() {
    yield { status: "Pulling from library/busybox", id: "latest" };
    yield { status: "Pulling fs layer", id: "aaa", progressDetail: {} };
    yield { status: "Downloading", id: "aaa", progressDetail: { current: 500, total: 1000 } };
    yield { status: "Pull complete", id: "aaa", progressDetail: {} };
  }
  const print = async (isTTY: boolean) => {
    let text = "";
    await showProgress(messages(), { write: (part) => (text += part), isTTY, columns: 80 });
    return text;
  };
  assert.equal(
    await print(false),
    "latest: Pulling from library/busybox\naaa: Pulling fs layer\naaa: Pull complete\n",
  );
  const line = (text: string) => `\x1b[1A\x1b[2K\r${text}\r\x1b[1B`;
  assert.equal(
    await print(true),
    `latest: Pulling from library/busybox\n\n${line("aaa: Pulling fs layer")}` +
      `${line("aaa: Downloading     500B/1kB")}${line("aaa: Pull complete")}`,
  );
  assert.equal(
    progressBar({ progressDetail: { current: 1, total: 2 } }, 120),
    `[${"=".repeat(25)}>${" ".repeat(25)}]       1B/2B`,
  );
  async function* failing() {
    yield { errorDetail: { message: "manifest unknown" }, error: "manifest unknown" };
  }
  await assert.rejects(showProgress(failing(), { write() {} }), /manifest unknown/);
});

test("exit codes of a start that failed", () => {
  const codes = [
    'exec: "nope": executable file not found in $PATH: unknown',
    "exec /x: no such file or directory: unknown",
    "exec /etc/passwd: permission denied: unknown",
    "exec /etc: is a directory: unknown",
    "driver failed programming external connectivity",
  ].map(startFailureCode);
  assert.deepEqual(codes, [127, 127, 126, 126, 125]);
});

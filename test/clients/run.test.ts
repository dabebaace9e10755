/** `docker run` by the real command line: output, exit codes, input, limits, mounts. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 1 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const run = (...args: string[]) => daemon.docker("run", "--rm", ...args);
/** Runs a shell line in a fresh container and answers what it printed. */
function shell(line: string, ...flags: string[]): string {
  const { code, stdout, stderr } = run(...flags, IMAGE, "sh", "-c", line);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

test("output of both streams arrives, apart", () => {
  const ran = run(IMAGE, "sh", "-c", "echo out; echo err >&2");
  assert.deepEqual(ran, { code: 0, stdout: "out\n", stderr: "err\n" });
});

test("a container's exit code is the command's", () => {
  assert.equal(run(IMAGE, "sh", "-c", "exit 7").code, 7);
  assert.equal(run(IMAGE, "sh", "-c", 'sh -c "kill -9 \\$\\$"; exit $?').code, 137);
});

test("127 for a command that isn't there, 126 for one that cannot be executed, 125 for the engine's own refusal", () => {
  const missing = run(IMAGE, "no-such-command");
  assert.equal(missing.code, 127);
  assert.match(missing.stderr, /executable file not found in \$PATH/);
  const notExecutable = run(IMAGE, "/etc/passwd");
  assert.equal(notExecutable.code, 126);
  assert.match(notExecutable.stderr, /permission denied/);
  assert.equal(run("-m", "1k", IMAGE, "true").code, 125);
});

test("what failed to start leaves nothing behind with --rm", () => {
  run("--name", "gone", IMAGE, "no-such-command");
  assert.equal(daemon.docker("ps", "-aq", "--filter", "name=gone").stdout, "");
});

test("stdin is passed on and its end is seen", () => {
  const { code, stdout } = daemon.dockerWith({ input: "a\nb\n" }, "run", "--rm", "-i", IMAGE, "wc", "-l");
  assert.equal(code, 0);
  assert.equal(stdout.trim(), "2");
});

test("a megabyte goes in and comes out unchanged", () => {
  const input = Buffer.alloc(1024 * 1024);
  for (let at = 0; at < input.length; at++) input[at] = 32 + (at % 90);
  const { stdout } = daemon.dockerWith({ input }, "run", "--rm", "-i", IMAGE, "cat");
  assert.ok(stdout === input.toString());
});

test("the first process is PID 1, alone in its namespaces", () => {
  assert.equal(shell("echo $$"), "1");
  assert.match(shell("ps"), /^\s*1 root/m);
  assert.equal(shell("hostname", "--hostname", "quay"), "quay");
  assert.match(shell("ip -o link"), /eth0/);
});

test("memory, CPU and process limits are the kernel's", () => {
  const limits = ["-m", "64m", "--cpus", "0.5", "--pids-limit", "50"];
  assert.equal(shell("cat /sys/fs/cgroup/memory/memory.limit_in_bytes", ...limits), "67108864");
  assert.equal(shell("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us", ...limits), "50000");
  assert.equal(shell("cat /sys/fs/cgroup/pids/pids.max", ...limits), "50");
});

test("a container over its memory limit is killed, and inspect says why", () => {
  const ran = daemon.docker(
    "run",
    "--name",
    "hog",
    "-m",
    "16m",
    IMAGE,
    "sh",
    "-c",
    "head -c 64m /dev/zero | tail",
  );
  assert.notEqual(ran.code, 0);
  assert.equal(daemon.docker("inspect", "-f", "{{.State.OOMKilled}}", "hog").stdout.trim(), "true");
  daemon.docker("rm", "hog");
});

test("environment, working directory, user and entrypoint", () => {
  assert.equal(shell("echo $A-$B", "-e", "A=1", "-e", "B=two words"), "1-two words");
  assert.equal(shell("pwd", "-w", "/tmp/made/here"), "/tmp/made/here");
  assert.equal(shell("id -u; id -g", "-u", "1000:1001"), "1000\n1001");
  assert.equal(shell("id -un", "-u", "nobody"), "nobody");
  assert.equal(run("--entrypoint", "echo", IMAGE, "hi").stdout, "hi\n");
});

test("an unknown user is refused by name", () => {
  const ran = run("-u", "nemo", IMAGE, "true");
  assert.equal(ran.code, 125);
  assert.match(ran.stderr, /unable to find user nemo: no matching entries in passwd file/);
});

test("the default profile holds: capabilities, seccomp, masked and read-only paths", () => {
  assert.match(shell("grep CapEff /proc/self/status"), /00000000a80425fb/);
  assert.match(shell("grep -w Seccomp: /proc/self/status"), /2/);
  assert.match(shell("mount -t tmpfs x /tmp 2>&1 || true"), /denied|not permitted/);
  assert.match(shell("(echo 1 > /proc/sys/kernel/panic) 2>&1 || true"), /Read-only/);
  assert.equal(
    shell("wc -c < /proc/timer_list; cat /proc/keys | wc -c; ls /sys/firmware | wc -l"),
    "0\n0\n0",
  );
  assert.match(shell("touch /sys/x 2>&1 || true"), /Read-only/);
});

test("a privileged container has them all", () => {
  assert.match(shell("mount -t tmpfs x /tmp && echo mounted", "--privileged"), /mounted/);
});

test("bind mounts, read-only ones and volumes", () => {
  const host = join(daemon.directory, "shared");
  mkdirSync(host);
  writeFileSync(join(host, "given"), "from the host\n");
  assert.equal(shell("cat /x/given; echo back > /x/made", "-v", `${host}:/x`), "from the host");
  assert.equal(readFileSync(join(host, "made"), "utf8"), "back\n");
  assert.match(shell("touch /x/no 2>&1 || true", "-v", `${host}:/x:ro`), /Read-only/);
  shell("echo kept > /v/file", "-v", "vol:/v");
  assert.equal(shell("cat /v/file", "-v", "vol:/v"), "kept");
  assert.equal(
    daemon.docker("volume", "inspect", "-f", "{{.Mountpoint}}", "vol").stdout.trim(),
    join(daemon.dataRoot, "volumes/vol/_data"),
  );
  assert.equal(daemon.docker("volume", "rm", "vol").code, 0);
});

test("a read-only root with a writable tmpfs", () => {
  assert.match(
    shell("touch /no 2>&1; touch /t/yes && echo ok", "--read-only", "--tmpfs", "/t:size=1m"),
    /Read-only[\s\S]*ok/,
  );
});

test("--init puts a small init first that reaps and passes signals on", () => {
  assert.match(shell("cat /proc/1/cmdline | tr '\\0' ' '", "--init"), /init/);
  assert.equal(run("--init", IMAGE, "sh", "-c", "exit 9").code, 9);
});

test("no descriptor of the engine's is open in a container", () => {
  assert.equal(shell("ls /proc/self/fd | wc -l"), "4"); // 0, 1, 2 and ls's own.
});

test("the host's mount table, cgroups and links are as before", async () => {
  const earlier = daemon.mounts();
  shell("true");
  await eventually(() =>
    assert.deepEqual(
      daemon.mounts().filter((mount) => !earlier.includes(mount)),
      [],
    ),
  );
});

/**
 * The `berth` command on a machine of its own: nothing runs, every path is the default one. Mount, network and process
 * namespaces keep it from the daemon that the host may have; all of it ends with the shell.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { removeEmptyParents } from "#test/fixtures/cgroups.ts";

const BERTH = join(resolve(import.meta.dirname, "../.."), "bin/berth");
const DATA = "/var/lib/berth";
const existed = existsSync(DATA);

before(() => void mkdirSync(DATA, { recursive: true }));
after(() => {
  if (!existed) rmdirSync(DATA);
  removeEmptyParents();
});

/** Prints how many daemons there are: one that found the other there already takes a moment to end. */
const COUNT_DAEMONS = `
    for _ in $(seq 100); do
      daemons=$(ps -A -o args | grep -c '[b]erthd.cjs') || :
      [ "$daemons" = 1 ] && break
      sleep 0.1
    done
    echo "$daemons"`;

/** Runs a script on the fresh machine; `$1` is the command. Every step has to succeed. */
function onFreshMachine(script: string, input = ""): { code: number | null; stdout: string; stderr: string } {
  const prepare = `set -e; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs ${DATA}; ip link set lo up\n`;
  const unshare = ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];
  const ran = spawnSync("unshare", [...unshare, "sh", "-c", prepare + script, "sh", BERTH], {
    encoding: "utf8",
    input,
    timeout: 120_000,
    env: { ...process.env, DOCKER_HOST: "", BERTH_HOST: "" },
  });
  return { code: ran.status, stdout: ran.stdout, stderr: ran.stderr };
}

test("the first command starts a daemon and says hello; the next one finds it", () => {
  const ran = onFreshMachine(`
    "$1" run --rm berth/busybox echo hello
    "$1" run --rm berth/busybox sh -c 'exit 7' || echo "code $?"
    ls /run/berth/berth.sock
    ${COUNT_DAEMONS}`);
  assert.equal(ran.code, 0, ran.stderr);
  assert.deepEqual(ran.stdout.split("\n"), ["hello", "code 7", "/run/berth/berth.sock", "1", ""]);
});

test("a session: run, ps, exec, logs, inspect, images, stop, rm, version", () => {
  const ran = onFreshMachine(`
    "$1" run -d --name web -p 8080:80 berth/busybox sh -c 'echo begun; exec httpd -f -h /' >/dev/null
    "$1" ps --format '{{.Names}} {{.Image}} {{.Ports}}'
    "$1" exec web sh -c 'echo hi >/index.html'
    curl -s --retry 5 --retry-connrefused http://127.0.0.1:8080/index.html
    "$1" logs web
    "$1" inspect -f '{{.State.Status}}' web
    "$1" images --format '{{.Repository}}:{{.Tag}}'
    "$1" stop -t 1 web
    "$1" ps -a --format '{{.Names}} {{.State}}'
    "$1" rm web
    "$1" ps -aq
    printf 'a\\nb\\n' | "$1" run --rm -i berth/busybox wc -l
    "$1" version --format '{{.Server.APIVersion}}'
    "$1" debug program none 2>&1 || echo "code $?"`);
  assert.equal(ran.code, 0, ran.stderr);
  const lines = ran.stdout.trimEnd().split("\n");
  assert.match(lines.shift() ?? "", /^web berth\/busybox 0\.0\.0\.0:8080->80\/tcp/);
  assert.deepEqual(lines, [
    "hi",
    "begun",
    "running",
    "berth/busybox:latest",
    "web",
    "web exited",
    "web",
    "2",
    "1.51",
    "Error response from daemon: No such container: none",
    "code 1",
  ]);
});

test("two first commands at once find one daemon", () => {
  const ran = onFreshMachine(`
    "$1" run --rm berth/busybox echo one >/run/one & first=$!
    "$1" run --rm berth/busybox echo two >/run/two; wait $first
    cat /run/one /run/two
    ${COUNT_DAEMONS}`);
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(ran.stdout, "one\ntwo\n1\n");
});

test("an image that is nowhere: 125, and its name", () => {
  const ran = onFreshMachine(`"$1" run --rm localhost:1/none true || exit $?`);
  assert.equal(ran.code, 125);
  assert.match(ran.stderr, /localhost:1\/none/);
});

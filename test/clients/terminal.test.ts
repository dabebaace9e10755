/** `docker run -it` under a real terminal (tmux): job control, resize, detaching. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { Terminal } from "#test/fixtures/terminal.ts";

const IMAGE = "berth/busybox";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 4 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

test("a shell on a terminal: PID 1, job control, Ctrl-C, resize, exit code", async () => {
  using terminal = new Terminal(daemon, "tty");
  terminal.type(`docker run --rm -it ${IMAGE} sh; echo "code=$?"`, "Enter");
  await terminal.shows(/\/ #/);
  terminal.type("ps", "Enter");
  await terminal.shows(/\n\s+1 root\s+sh/);
  terminal.type("stty size", "Enter");
  await terminal.shows(/\n24 80/);
  terminal.resize(100, 30);
  await eventually(() => {
    // The command line hears of the new size some time later.
    terminal.type("stty size", "Enter");
    assert.match(terminal.screen, /\n30 100/);
  });
  terminal.type("sleep 100", "Enter");
  const box = daemon.ok("ps", "-q");
  await eventually(() => assert.match(daemon.ok("top", box), /sleep 100/));
  terminal.type("C-c");
  terminal.type("echo interrupted=$?", "Enter");
  await terminal.shows(/\ninterrupted=130/);
  terminal.type("sleep 50 &", "Enter");
  terminal.type("jobs", "Enter");
  await terminal.shows(/Running\s+sleep 50/);
  terminal.type("exit 42", "Enter");
  await terminal.shows(/\ncode=42/);
});

test("the detach keys leave the container running", async () => {
  using terminal = new Terminal(daemon, "detach");
  terminal.type(`docker run --name left -it ${IMAGE} sh; echo "code=$?"`, "Enter");
  await terminal.shows(/\/ #/);
  terminal.type("C-p", "C-q");
  await terminal.shows(/\/ # code=0/);
  assert.equal(daemon.docker("inspect", "-f", "{{.State.Running}}", "left").stdout.trim(), "true");
  terminal.type("clear; docker attach left", "Enter");
  terminal.type("echo back", "Enter");
  await terminal.shows(/\nback/);
  terminal.type("exit", "Enter");
  daemon.docker("rm", "-f", "left");
});

test("exec with a terminal", async () => {
  daemon.docker("run", "-d", "--name", "box", IMAGE, "sleep", "1000");
  using terminal = new Terminal(daemon, "exec");
  terminal.type('docker exec -it box sh; echo "code=$?"', "Enter");
  await terminal.shows(/\/ #/);
  terminal.type("tty; stty size", "Enter");
  await terminal.shows(/\/dev\/pts\/\d+\s+24 80/);
  terminal.type("exit 6", "Enter");
  await terminal.shows(/\ncode=6/);
  daemon.docker("rm", "-f", "box");
});

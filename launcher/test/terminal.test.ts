/** The relay with a terminal between it and the process. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { after, before, test } from "node:test";
import type { ShimHandle } from "#program/launcher-client.types.ts";
import { ALL, collect, createFixture, type Fixture, processProgram, until } from "./fixture.ts";

let fixture: Fixture;
before(async () => {
  fixture = await createFixture();
});
after(() => fixture[Symbol.dispose]());

let serial = 0;

async function start(
  script: string,
): Promise<{ shim: ShimHandle; client: Socket; log: string; socket: string }> {
  const directory = fixture.path(`tty${serial++}`);
  mkdirSync(directory);
  const socket = `${directory}/shim.sock`;
  const log = `${directory}/log`;
  const program = processProgram({
    argv: ["/bin/sh", "-c", script],
    directory,
    log,
    terminal: true,
    stdinOnce: true,
    expectedAttaches: 1,
  });
  const shim = fixture.client.launch(program, socket);
  await shim.listening;
  return { shim, client: await fixture.client.attach(socket, ALL), log, socket };
}

test("output comes raw, with the terminal's line ends, and all of it after the end", async () => {
  const { shim, client, log } = await start(
    "test -t 0 && test -t 1 && test -t 2 && echo a terminal; echo err >&2",
  );
  const output = collect(client);
  assert.equal((await shim.exited).exitCode, 0);
  assert.equal((await output).toString(), "a terminal\r\nerr\r\n");
  assert.deepEqual(
    readFileSync(log, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .map(({ log: text, stream }) => [text, stream]),
    [
      ["a terminal\r\n", "stdout"],
      ["err\r\n", "stdout"],
    ],
  );
});

test("much output through a terminal is complete", async () => {
  const { shim, client } = await start("seq 1 50000");
  const output = (await collect(client)).toString();
  assert.equal((await shim.exited).exitCode, 0);
  assert.equal(output, Array.from({ length: 50000 }, (_, i) => `${i + 1}\r\n`).join(""));
});

test("input goes to the terminal, and its control characters work", async () => {
  const { shim, client } = await start(
    "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done",
  );
  let seen = "";
  client.on("data", (data) => {
    seen += data;
  });
  await until("it is ready", () => seen.includes("ready"));
  client.write("\x03");
  assert.equal((await shim.exited).exitCode, 3);
  await until("the trap has spoken", () => seen.includes("interrupted"));
});

test("a new size reaches the terminal and its processes", async () => {
  const { shim, client } = await start(
    "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.02; done",
  );
  let seen = "";
  client.on("data", (data) => {
    seen += data;
  });
  await until("it is ready", () => seen.includes("ready"));
  shim.resize(33, 123);
  assert.equal((await shim.exited).exitCode, 0);
  await until("the size is there", () => seen.includes("33 123"));
});

test("the end of a client's input, or the client's, is not the end of the terminal", async () => {
  const { shim, client, socket } = await start("read x; echo got $x; read y; echo got $y");
  const first = collect(client);
  client.end("one\n");
  const second = await fixture.client.attach(socket, ALL);
  let seen = "";
  second.on("data", (data) => {
    seen += data;
  });
  shim.closeStdin();
  second.write("two\n");
  assert.equal((await shim.exited).exitCode, 0);
  assert.match((await first).toString(), /got one/);
  await until("the second has been read", () => seen.includes("got two"));
});

test("a process that closes its terminal and opens it again goes on being heard", async () => {
  const { shim, client } = await start(
    "t=$(tty); echo before; exec 0<&- 1>&- 2>&-; sleep 0.3; exec >$t; echo after",
  );
  const output = collect(client);
  assert.equal((await shim.exited).exitCode, 0);
  assert.equal((await output).toString(), "before\r\nafter\r\n");
});

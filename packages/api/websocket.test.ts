/** attach/ws by a client of the same library: output bare whatever the framing, input, refusals, the end. */
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { describe, it } from "node:test";
import WebSocket from "ws";
import { joinStreams } from "#engine/streams/attach.ts";
import { stdoutFrame } from "./testing/fake-engine.ts";
import { eventually, Served, webSocketHeaders } from "./testing/served.ts";

function open(served: Served, id: string, query = "stream=1&stdin=1&stdout=1&stderr=1"): WebSocket {
  return new WebSocket(`ws+unix://${served.socket}:/v1.51/containers/${id}/attach/ws?${query}`);
}

/** An attach of which the engine makes what `connect` does with its client. */
function attachAs(served: Served, tty: boolean, connect: (client: Duplex) => Promise<void>): void {
  served.engine.containers.attach = async () => ({ tty, connect });
}

function drainedOrClosed(client: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      client.off("drain", done).off("close", done);
      resolve();
    };
    client.on("drain", done).on("close", done);
  });
}

describe("attach over a WebSocket", () => {
  for (const Tty of [false, true]) {
    it(`passes bytes both ways ${Tty ? "of a terminal" : "without their framing"}`, async () => {
      await using served = await Served.start();
      const id = await served.createContainer(["cat"], { Tty, OpenStdin: true, StdinOnce: true });
      const client = open(served, id);
      await new Promise((resolve) => client.once("open", resolve));
      await served.ask("POST", `/containers/${id}/start`);
      client.send("hello\n");
      const answer = await new Promise((resolve) => client.once("message", resolve));
      assert.equal(String(answer), "hello\n");
      client.close();
      await new Promise((resolve) => client.once("close", resolve));
      const [, , options] = served.engine.calls.find(([call]) => call === "attach") ?? [];
      assert.deepEqual(options, {
        stdin: true,
        stdout: true,
        stderr: true,
        stream: true,
        logs: false,
        detachKeys: "",
      });
    });
  }

  it("gives output that came before the end of the container, then ends", async () => {
    await using served = await Served.start();
    const id = await served.createContainer(["echo", "all", "said"]);
    const client = open(served, id, "stream=1&stdout=1");
    let text = "";
    client.on("message", (data: Buffer, isBinary: boolean) => {
      assert.ok(isBinary);
      text += data.toString();
    });
    await new Promise((resolve) => client.once("open", resolve));
    await served.ask("POST", `/containers/${id}/start`);
    await new Promise((resolve) => client.once("close", resolve));
    assert.equal(text, "all said\n");
  });

  for (const tty of [false, true]) {
    const kind = tty ? "a terminal's" : "a container's";

    it(`ends by itself for a client that leaves while ${kind} log is sent`, async () => {
      await using served = await Served.start();
      let left = false;
      attachAs(served, tty, async (client) => {
        const piece = Buffer.alloc(64 * 1024);
        for (let sent = 0; sent < 200 && !client.destroyed; sent++) {
          if (!client.write(tty ? piece : stdoutFrame(piece))) await drainedOrClosed(client);
        }
        left = true;
      });
      const client = open(served, "any", "stream=1&stdout=1&logs=1");
      await new Promise((resolve) => client.once("message", resolve));
      client.terminate();
      await eventually(() => left, "the end of the log");
    });

    it(`ends by itself for a client that breaks the protocol before ${kind} start`, async () => {
      await using served = await Served.start();
      let left = false;
      attachAs(served, tty, async (client) => {
        await new Promise((resolve) => client.once("close", resolve));
        left = true;
      });
      const raw = served.connect();
      raw.send(`GET /containers/any/attach/ws?stream=1 HTTP/1.1\r\nHost: x\r\n${webSocketHeaders}\r\n`);
      await raw.until("\r\n\r\n");
      // A reserved bit, of an extension that nobody has asked for.
      raw.send(Buffer.from("c18000000000", "hex"));
      raw.socket.destroy();
      await eventually(() => left, "the end of the client's stream");
    });

    it(`delivers what a client has sent before it closes as ${kind} input`, async () => {
      await using served = await Served.start();
      const path = join(served.directory, "shim.sock");
      let got = 0;
      let ended = false;
      const shim = createServer((socket) => {
        socket.on("data", (chunk) => {
          got += chunk.length;
          // Slower than the client is.
          socket.pause();
          setImmediate(() => socket.resume());
        });
        socket.on("end", () => {
          ended = true;
        });
      }).listen(path);
      attachAs(served, tty, (client) =>
        joinStreams(client, connect(path), { stdin: true, detachKeys: undefined }),
      );
      const client = open(served, "any");
      await new Promise((resolve) => client.once("open", resolve));
      for (let sent = 0; sent < 3; sent++) client.send(Buffer.alloc(1_000_000));
      client.close();
      await eventually(() => ended, "the end of the input");
      assert.equal(got, 3_000_000);
      shim.close();
    });

    for (const stdin of [false, true]) {
      it(`lets go of ${kind} silent shim when the client ${stdin ? "with" : "without"} input closes`, async () => {
        await using served = await Served.start();
        const path = join(served.directory, "shim.sock");
        const shim = createServer((socket) => socket.resume()).listen(path);
        let left = false;
        attachAs(served, tty, async (client) => {
          await joinStreams(client, connect(path), { stdin, detachKeys: undefined });
          left = true;
        });
        const client = open(served, "any");
        await new Promise((resolve) => client.once("open", resolve));
        client.close();
        await eventually(() => left, "the end of the conversation");
        shim.close();
      });
    }
  }

  it("is refused before the handshake where there is nothing to attach to", async () => {
    await using served = await Served.start();
    const client = open(served, "missing");
    const error = await new Promise<Error>((resolve) => client.once("error", resolve));
    assert.match(error.message, /404/);
  });

  it("is refused to who asks without a handshake", async () => {
    await using served = await Served.start();
    const id = await served.createContainer(["cat"]);
    const { status, json } = await served.ask("GET", `/containers/${id}/attach/ws?stream=1`);
    assert.equal(status, 400);
    assert.match(json.message, /WebSocket handshake/);
  });
});

/** attach/ws by a client of the same library: output bare whatever the framing, input, refusals, the end. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import WebSocket from "ws";
import { Served } from "./testing/served.ts";

function open(served: Served, id: string, query = "stream=1&stdin=1&stdout=1&stderr=1"): WebSocket {
  return new WebSocket(`ws+unix://${served.socket}:/v1.51/containers/${id}/attach/ws?${query}`);
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

/** Connections that are taken over, by clients that speak bare bytes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { takesOver } from "./hijack.ts";
import { stdoutFrame } from "./testing/fake-engine.ts";
import { type RawConnection, Served, webSocketHeaders } from "./testing/served.ts";

const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
const post = (path: string, headers = upgrade, body = "") =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\n${headers}${
    body === "" ? "" : `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`
  }\r\n${body}`;
const attachAll = "stream=1&stdin=1&stdout=1&stderr=1";

function payloadOf(raw: RawConnection): string {
  const at = raw.received.indexOf("\r\n\r\n");
  return raw.received.subarray(at + 4).toString("latin1");
}

async function running(served: Served, command: string[], more: object = {}): Promise<string> {
  const id = await served.createContainer(command, more);
  await served.ask("POST", `/containers/${id}/start`);
  return id;
}

describe("attach", () => {
  it("answers 101 to an upgrade and speaks both ways until the client's side is shut", async () => {
    await using served = await Served.start();
    const id = await running(served, ["cat"]);
    const raw = served
      .connect()
      .send(post(`/v1.50/containers/${id}/attach?${attachAll}&logs=0&detachKeys=ctrl-x`));
    const head = await raw.until("\r\n\r\n");
    assert.match(head, /^HTTP\/1\.1 101 UPGRADED\r\n/);
    assert.match(head, /\r\nContent-Type: application\/vnd\.docker\.multiplexed-stream\r\n/);
    assert.match(head, /\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n/);
    assert.match(head, /\r\napi-version: 1\.51\r\n/i);
    const call = served.engine.calls.find(([name]) => name === "attach");
    assert.deepEqual(call?.[2], {
      stdin: true,
      stdout: true,
      stderr: true,
      stream: true,
      logs: false,
      detachKeys: "ctrl-x",
    });
    raw.send("one\n");
    await raw.until("one\n");
    // More than any buffer on the way holds.
    const much = Buffer.alloc(3_000_000, "0123456789abcdef");
    raw.send(much).send("last");
    raw.socket.end();
    await raw.end();
    const frames = Buffer.from(payloadOf(raw), "latin1");
    const bytes: Buffer[] = [];
    for (let at = 0; at < frames.length; ) {
      const length = frames.readUInt32BE(at + 4);
      bytes.push(frames.subarray(at + 8, at + 8 + length));
      at += 8 + length;
    }
    assert.equal(
      Buffer.compare(Buffer.concat(bytes), Buffer.concat([Buffer.from("one\n"), much, Buffer.from("last")])),
      0,
    );
  });

  it("answers 200 to a client that asks for no upgrade", async () => {
    await using served = await Served.start();
    const id = await running(served, ["cat"]);
    const raw = served.connect().send(post(`/containers/${id}/attach?${attachAll}`, ""));
    const head = await raw.until("\r\n\r\n");
    assert.match(head, /^HTTP\/1\.1 200 OK\r\nContent-Type: application\/vnd\.docker\.raw-stream\r\n/);
    assert.doesNotMatch(head, /Content-Length|Transfer-Encoding|Connection/i);
    raw.send("GET / HTTP/1.1\r\n\r\n");
    await raw.until("GET /");
    raw.socket.end();
    await raw.end();
    assert.equal(payloadOf(raw), stdoutFrame("GET / HTTP/1.1\r\n\r\n").toString("latin1"));
  });

  it("loses nothing that came along with the head, on a connection used before", async () => {
    await using served = await Served.start();
    for (const headers of [
      upgrade,
      "",
      "Transfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n",
    ]) {
      const id = await running(served, ["cat"]);
      const raw = served.connect().send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
      await raw.until("OK");
      raw.received = Buffer.alloc(0);
      raw.send(`${post(`/containers/${id}/attach?${attachAll}`, headers)}early bytes`);
      raw.socket.end();
      await raw.end();
      assert.equal(payloadOf(raw), stdoutFrame("early bytes").toString("latin1"));
    }
  });

  it("takes a body nobody asked for as no input", async () => {
    await using served = await Served.start();
    for (const headers of [upgrade, ""]) {
      const id = await running(served, ["cat"]);
      const request = post(`/containers/${id}/attach?${attachAll}`, headers, '{"stream":true,"stdin":true}');
      const raw = served.connect();
      raw.send(request.slice(0, -5));
      await new Promise((resolve) => setTimeout(resolve, 20));
      raw.send(`${request.slice(-5)}input`);
      raw.socket.end();
      await raw.end();
      assert.equal(payloadOf(raw), stdoutFrame("input").toString("latin1"));
    }
  });

  it("gives a terminal's bytes as they are", async () => {
    await using served = await Served.start();
    const id = await served.createContainer(["echo", "hi"], { Tty: true });
    const raw = served.connect().send(post(`/v1.50/containers/${id}/attach?stream=1&stdout=1`));
    assert.match(await raw.until("\r\n\r\n"), /\r\nContent-Type: application\/vnd\.docker\.raw-stream\r\n/);
    await served.ask("POST", `/containers/${id}/start`);
    await raw.end();
    assert.equal(payloadOf(raw), "hi\n");
  });

  it("knows no multiplexed type before 1.42", async () => {
    await using served = await Served.start();
    const id = await running(served, ["cat"]);
    const raw = served.connect().send(post(`/v1.41/containers/${id}/attach?${attachAll}`));
    assert.match(await raw.until("\r\n\r\n"), /vnd\.docker\.raw-stream/);
    raw.socket.destroy();
  });

  it("is refused with an ordinary answer", async () => {
    await using served = await Served.start();
    for (const headers of [upgrade, ""]) {
      const text = await served.connect().send(post("/containers/none/attach", headers)).end();
      assert.match(text, /^HTTP\/1\.1 404 Not Found\r\n/);
      assert.match(text, /Connection: close/i);
      assert.match(text, /\{"message":"No such container: none"\}\n$/);
    }
    const late = await served.connect().send(post("/v1.99/containers/none/attach")).end();
    assert.match(late, /^HTTP\/1\.1 400 [\s\S]*too new/);
  });

  it("survives clients that vanish", async () => {
    await using served = await Served.start();
    const id = await running(served, ["cat"]);
    for (let round = 0; round < 20; round++) {
      const raw = served.connect().send(`${post(`/containers/${id}/attach?stream=1&stdout=1`)}`);
      if (round % 2 === 0) await raw.until("\r\n\r\n");
      raw.socket.destroy();
    }
    assert.equal((await served.ask("GET", "/_ping")).status, 200);
  });
});

describe("exec start", () => {
  async function execOf(served: Served, Cmd: string[], more: object = {}): Promise<string> {
    const id = await running(served, ["sleep"]);
    const { json, status } = await served.ask("POST", `/containers/${id}/exec`, {
      body: { Cmd, AttachStdin: true, AttachStdout: true, ...more },
    });
    assert.equal(status, 201);
    return json.Id;
  }

  it("reads its body and nothing of what follows it", async () => {
    await using served = await Served.start();
    for (const headers of [upgrade, ""]) {
      const exec = await execOf(served, ["cat"]);
      const raw = served.connect();
      const request = post(
        `/v1.50/exec/${exec}/start`,
        headers,
        '{"Detach":false,"Tty":false,"ConsoleSize":[24,80]}',
      );
      // Cut in the middle of the body, and the input right behind it.
      raw.send(request.slice(0, -20));
      await new Promise((resolve) => setTimeout(resolve, 20));
      raw.send(`${request.slice(-20)}input`);
      raw.socket.end();
      await raw.end();
      assert.equal(payloadOf(raw), stdoutFrame("input").toString("latin1"));
      const call = served.engine.calls.findLast(([name]) => name === "exec start");
      assert.deepEqual(call?.slice(1), [exec, { detach: false, tty: false, consoleSize: [24, 80] }]);
      assert.equal((await served.ask("GET", `/exec/${exec}/json`)).json.ExitCode, 0);
    }
  });

  it("answers an ordinary, empty 200 when detached", async () => {
    await using served = await Served.start();
    const exec = await execOf(served, ["echo", "x"]);
    const { status, text } = await served.ask("POST", `/exec/${exec}/start`, { body: { Detach: true } });
    assert.deepEqual([status, text], [200, ""]);
    assert.equal((await served.ask("POST", `/exec/${exec}/resize?h=1&w=2`)).status, 200);
  });

  it("tells in the stream, framed, that the command can't be run", async () => {
    await using served = await Served.start();
    const exec = await execOf(served, ["fail"]);
    const raw = served.connect().send(post(`/exec/${exec}/start`, upgrade, "{}"));
    await raw.end();
    const text = 'exec: "fail": executable file not found in $PATH\r\n';
    assert.equal(payloadOf(raw), stdoutFrame(text).toString("latin1"));
    assert.equal((await served.ask("GET", `/exec/${exec}/json`)).json.ExitCode, 127);
  });

  it("refuses what isn't right with an ordinary answer", async () => {
    await using served = await Served.start();
    const ask = (body: string, headers = upgrade) =>
      served
        .connect()
        .send(post("/exec/none/start", headers, body))
        .end();
    assert.match(await ask("{}"), /^HTTP\/1\.1 404 [\s\S]*No such exec instance: none/);
    assert.match(await ask("{"), /^HTTP\/1\.1 400 [\s\S]*invalid JSON: unexpected EOF/);
    assert.match(await ask('{"Tty":1}'), /^HTTP\/1\.1 400 [\s\S]*Tty must be true or false, not a number/);
    const huge = `Content-Type: application/json\r\nContent-Length: 99999999\r\n${upgrade}`;
    assert.match(await ask("", huge), /^HTTP\/1\.1 413 /);
    const id = await running(served, ["sleep"]);
    const empty = await served.ask("POST", `/containers/${id}/exec`, { body: { Cmd: [] } });
    assert.deepEqual([empty.status, empty.json.message], [400, "No exec command specified"]);
  });
});

describe("upgrades", () => {
  it("to anything else are passed over", async () => {
    await using served = await Served.start();
    const headers = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
    const raw = served.connect().send(`GET /_ping HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
    assert.match(await raw.until("OK"), /^HTTP\/1\.1 200 OK/);
    raw.received = Buffer.alloc(0);
    raw.send(post("/grpc", headers));
    assert.match(await raw.until("}"), /^HTTP\/1\.1 501 /);
    raw.socket.destroy();
  });

  it("behind a request that has not been answered end their connection, and nobody else's", async () => {
    await using served = await Served.start();
    const id = await running(served, ["cat"]);
    for (const takeover of [
      post(`/containers/${id}/attach?${attachAll}`),
      post(`/containers/${id}/attach?${attachAll}`, ""),
      post("/exec/none/start", upgrade, "{}"),
      `GET /containers/${id}/attach/ws?stream=1 HTTP/1.1\r\nHost: x\r\n${webSocketHeaders}\r\n`,
    ]) {
      await served.connect().send(`GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n${takeover}`).end();
      assert.equal((await served.ask("GET", "/_ping")).status, 200);
    }
  });

  it("are known by method and path", () => {
    const yes = [
      "/containers/a/attach",
      "/v1.41/containers/a/attach?stream=1",
      "/exec/a/start",
      "/v1.24/exec/a/start",
    ];
    const no = [
      "/containers/a/attach/ws",
      "/containers/a/start",
      "/exec/a/json",
      "/images/a?x=/exec/a/start",
      "/",
      undefined,
    ];
    for (const url of yes) assert.ok(takesOver({ method: "POST", url }), url);
    for (const url of no) assert.ok(!takesOver({ method: "POST", url }), url);
    assert.ok(!takesOver({ method: "GET", url: "/containers/a/attach" }));
  });
});

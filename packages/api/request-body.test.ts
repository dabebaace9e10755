/** Bodies that stall. What else there is to say of bodies is shown over the server (server.test.ts). */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { bodyOf } from "./request-body.ts";

/** As much of a request as its body is. */
function requestWith(headers: Record<string, string> = {}): PassThrough & IncomingMessage {
  return Object.assign(new PassThrough(), { headers }) as unknown as PassThrough & IncomingMessage;
}

test("a body of which nothing more comes is given up", async () => {
  const request = requestWith();
  request.write("{");
  await assert.rejects(
    bodyOf(request, 50).read(100),
    (error) =>
      isBerthError(error, "invalid") && /nothing came of the request's body for 0.05 s/.test(error.message),
  );
});

test("one that comes slowly may take as long as it takes", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const request = requestWith();
  const read = bodyOf(request, 1000).read(100);
  for (let n = 0; n < 5; n++) {
    request.write("x");
    await new Promise((resolve) => setImmediate(resolve));
    context.mock.timers.tick(900);
  }
  request.end();
  assert.equal((await read).toString(), "xxxxx");
});

test("one that fails while nobody reads it yet is found failed by whoever does", async () => {
  const request = requestWith({ "content-length": "10" });
  const stream = bodyOf(request).stream();
  request.write("x");
  request.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(isBerthError(stream.errored, "invalid"));
});

for (const how of ["stream", "read"] as const) {
  test(`one whose client has gone in its middle, and had offered an upgrade, is cut short (${how})`, async () => {
    const failed = Promise.withResolvers<unknown>();
    const server = createServer({ shouldUpgradeCallback: () => false }, (request) => {
      const body = bodyOf(request);
      if (how === "read") body.read(100).catch(failed.resolve);
      else body.stream().resume().once("error", failed.resolve);
    });
    Object.assign(server, { httpAllowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const closed = new Promise((resolve) => client.once("close", resolve));
    try {
      client.end(
        "POST /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 18\r\n\r\nabc",
      );
      assert.ok(isBerthError(await failed.promise, "invalid"));
      await closed;
    } finally {
      client.destroy();
      server.close();
    }
  });
}

/** Answers on a connection on which more than one thing was asked at once. */
import assert from "node:assert/strict";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLogger } from "#errors/logger-types.ts";
import { sendBody } from "./body-output.ts";
import type { RequestContext } from "./request-context.ts";

const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

/** What is asked of /first is answered by `first`, everything else with a body that is written beside. */
async function serve(first: (response: ServerResponse) => void) {
  const sent: Promise<void>[] = [];
  const gone = new AbortController();
  const server: Server = createServer((request, response) => {
    if (request.url === "/first") {
      first(response);
      return;
    }
    const context = { response, signal: gone.signal, logger: silentLogger } as unknown as RequestContext;
    sent.push(
      sendBody(context, {}, async ({ stream }) => {
        stream.write("the body");
      }),
    );
  });
  server.on("connection", (socket: Socket) => socket.on("close", () => gone.abort()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const end = () => {
    client.destroy();
    server.close();
  };
  return { client, sent, [Symbol.dispose]: end };
}

test("a body whose turn comes later is sent then, and the connection is free for the next", async () => {
  using served = await serve((response) => void setTimeout(() => response.end("one"), 50));
  let text = "";
  served.client.setEncoding("utf8").on("data", (piece: string) => {
    text += piece;
  });
  served.client.write(ask("/first") + ask("/second"));
  const bodies = () => text.split("the body").length - 1;
  while (bodies() < 1 || !text.endsWith("0\r\n\r\n")) await sleep(5);
  assert.ok(text.indexOf("one") < text.indexOf("the body"), text);
  served.client.write(ask("/third"));
  while (bodies() < 2) await sleep(5);
});

test("nobody waits for the turn of a client that has gone", async () => {
  using served = await serve(() => {});
  served.client.write(ask("/first") + ask("/second"));
  while (served.sent.length === 0) await sleep(5);
  served.client.destroy();
  await served.sent[0];
});

import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { noProxy } from "./registry/proxy.ts";
import { openRemoteArchive } from "./remote-archive.ts";

let server: Server;
let host: string;
const options = { proxy: noProxy, signal: undefined };

before(async () => {
  server = createServer((request, response) => {
    if (request.url === "/moved") response.writeHead(302, { Location: "/archive" }).end();
    else if (request.url === "/archive") response.end("bytes");
    else response.writeHead(404).end("no such page");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

test("an archive is fetched, behind a redirect too, and http is what an address without scheme means", async () => {
  for (const address of [`http://${host}/archive`, `http://${host}/moved`, `${host}/archive`]) {
    const { body, size, url } = await openRemoteArchive(address, options);
    let text = "";
    for await (const piece of body) text += piece;
    assert.equal(text, "bytes");
    assert.equal(size, 5);
    assert.ok(url.startsWith("http://"));
  }
});

test("an error page is told, and so is a server that doesn't answer", async () => {
  await assert.rejects(openRemoteArchive(`http://${host}/none`, options), {
    message: `failed to GET http://${host}/none with status 404 Not Found: no such page`,
  });
  await assert.rejects(openRemoteArchive("http://127.0.0.1:1/x.tar", options), {
    message: 'Get "http://127.0.0.1:1/x.tar": dial tcp 127.0.0.1:1: connect: connection refused',
  });
  await assert.rejects(openRemoteArchive("ftp://x/y", options), { code: "invalid" });
});

test("a password in the address is shown to nobody", async () => {
  const { body, url } = await openRemoteArchive(`http://me:secret@${host}/archive`, options);
  body.resume();
  assert.equal(url, `http://me:xxxxx@${host}/archive`);
  await assert.rejects(openRemoteArchive("http://me:secret@127.0.0.1:1/x.tar", options), (error: Error) => {
    assert.match(error.message, /^Get "http:\/\/me:xxxxx@127\.0\.0\.1:1/);
    return !JSON.stringify([error, String(error.cause)]).includes("secret");
  });
});

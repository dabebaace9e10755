import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, connect, type Server } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { temporaryDirectory } from "../testing/temporary.ts";
import { exchange, readBody } from "./http-exchange.ts";
import { noProxy, proxyFor } from "./proxy.ts";
import { closeConnections, makeTransport, readCertificates, type TransportOptions } from "./transport.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function listen(
  t: TestContext,
  server: Server & { closeAllConnections?: () => void },
): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    closeConnections();
    server.closeAllConnections?.();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function get(url: string, options: Partial<TransportOptions>, headers: Record<string, string> = {}) {
  const transport = makeTransport({ insecure: false, proxy: noProxy, ...options });
  const response = await exchange({ method: "GET", url, headers, transport });
  return { status: response.status, text: (await readBody(response, 1 << 20)).toString("utf8") };
}

/** An authority and what it signed, in a directory like certs.d/<host>. */
function certificates(t: TestContext): string {
  const directory = temporaryDirectory(t);
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: directory, stdio: "ignore" });
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...curve, "-keyout", "ca.pem", "-out", "ca.crt", "-subj", "/CN=test", "-days", "1");
  writeFileSync(join(directory, "ext"), "subjectAltName=IP:127.0.0.1\n");
  for (const name of ["server", "client"]) {
    openssl("req", ...curve, "-keyout", `${name}.key`, "-out", "csr", "-subj", `/CN=${name}`);
    const signer = ["-CA", "ca.crt", "-CAkey", "ca.pem", "-CAcreateserial", "-extfile", "ext", "-days", "1"];
    openssl("x509", "-req", "-in", "csr", ...signer, "-out", `${name}.cert`);
  }
  return directory;
}

test("a private authority and a client certificate out of certs.d", async (t) => {
  const made = certificates(t);
  const read = (name: string) => readFileSync(join(made, name));
  const server = createSecureServer(
    {
      key: read("server.key"),
      cert: read("server.cert"),
      ca: read("ca.crt"),
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      const { subject } = (request.socket as import("node:tls").TLSSocket).getPeerCertificate();
      response.end(subject?.CN ?? "nobody");
    },
  );
  const port = await listen(t, server);
  const url = `https://127.0.0.1:${port}/`;
  const unknown = /x509: certificate signed by unknown authority/;
  await assert.rejects(get(url, {}), unknown);
  const parent = temporaryDirectory(t);
  const directory = join(parent, `127.0.0.1:${port}`);
  mkdirSync(directory);
  writeFileSync(join(directory, "ca.crt"), read("ca.crt"));
  const anonymous = await readCertificates(`127.0.0.1:${port}`, ["/nowhere", parent]);
  assert.equal((await get(url, anonymous)).text, "nobody");
  writeFileSync(join(directory, "me.cert"), read("client.cert"));
  await assert.rejects(readCertificates(`127.0.0.1:${port}`, [parent]), {
    code: "invalid",
    message: "missing key me.key for client certificate me.cert. CA certificates must use the extension .crt",
  });
  writeFileSync(join(directory, "me.key"), read("client.key"));
  assert.equal((await get(url, await readCertificates(`127.0.0.1:${port}`, [parent]))).text, "client");
  rmSync(join(directory, "me.cert"));
  await assert.rejects(readCertificates(`127.0.0.1:${port}`, [parent]), {
    message: "missing client certificate me.cert for key me.key",
  });
  assert.deepEqual(await readCertificates("other:1", [parent]), { authorities: [], clients: [] });
  const strict = createSecureServer(
    { key: read("server.key"), cert: read("server.cert"), ca: read("ca.crt"), requestCert: true },
    (_, response) => response.end(),
  );
  await assert.rejects(get(`https://127.0.0.1:${await listen(t, strict)}/`, anonymous), {
    message: /: remote error: tls: certificate required$/,
  });
  await assert.rejects(get(url, { authorities: ["no certificate"], clients: [{ cert: "x", key: "y" }] }), {
    code: "invalid",
    message: /invalid registry certificate/,
  });
});

test("through a proxy, in its form for http and by a tunnel for https", async (t) => {
  const made = certificates(t);
  const handler: Handler = (request, response) => {
    response.end(`${request.headers.host} ${request.url}`);
  };
  const plain = await listen(t, createServer(handler));
  const secure = await listen(
    t,
    createSecureServer(
      { key: readFileSync(join(made, "server.key")), cert: readFileSync(join(made, "server.cert")) },
      handler,
    ),
  );
  const seen: string[] = [];
  const proxy = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers["proxy-authorization"] ?? ""}`);
    response.end("by the proxy");
  });
  proxy.on("connect", (request, socket) => {
    seen.push(`CONNECT ${request.url} ${request.headers["proxy-authorization"] ?? ""}`);
    const upstream = connect(secure, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on("error", () => socket.destroy());
    socket.on("error", () => upstream.destroy());
  });
  const address = `http://me:secret@127.0.0.1:${await listen(t, proxy)}`;
  const settings = { http: address, https: address, no: "direct.example" };
  const account = `Basic ${Buffer.from("me:secret").toString("base64")}`;
  assert.equal((await get("http://registry.example/v2/", { proxy: settings })).text, "by the proxy");
  assert.equal(
    (await get("https://registry.example/v2/", { proxy: settings, insecure: true })).text,
    "registry.example /v2/",
  );
  assert.deepEqual(seen, [
    `GET http://registry.example/v2/ ${account}`,
    `CONNECT registry.example:443 ${account}`,
  ]);
  // Loopback never takes it.
  assert.match((await get(`http://127.0.0.1:${plain}/x`, { proxy: settings })).text, /\/x$/);
  assert.equal(seen.length, 2);
});

test("which hosts go round a proxy", () => {
  const goes = (url: string, no: string) =>
    proxyFor(new URL(url), { http: "http://p:1", https: "http://p:2", no }) !== undefined;
  assert.equal(
    proxyFor(new URL("https://x/"), { http: "http://p:1", https: "http://p:2", no: "" }),
    "http://p:2",
  );
  assert.equal(proxyFor(new URL("http://x/"), { ...noProxy, https: "http://p:2" }), undefined);
  for (const [url, no] of [
    ["http://localhost:5000/", ""],
    ["http://127.0.0.9/", ""],
    ["http://[::1]:5000/", ""],
    ["http://reg.example/", "other,reg.example"],
    ["http://a.reg.example/", "reg.example"],
    ["http://a.reg.example/", ".reg.example"],
    ["http://a.reg.example/", "*.reg.example"],
    ["http://10.1.2.3/", "10.0.0.0/8"],
    ["http://10.1.2.3/", "10.1.2.3"],
    ["http://[fd00::1]/", "fd00::/8"],
    ["http://reg.example:5000/", "reg.example:5000"],
    ["http://any.example/", " * "],
  ] as const) {
    assert.equal(goes(url, no), false, `${url} with ${no}`);
  }
  for (const [url, no] of [
    ["http://reg.example/", ""],
    ["http://notreg.example/", "reg.example"],
    ["http://reg.example/", ".reg.example"],
    ["http://11.1.2.3/", "10.0.0.0/8"],
    ["http://reg.example:5001/", "reg.example:5000"],
    ["http://reg.example/", ",,"],
  ] as const) {
    assert.equal(goes(url, no), true, `${url} with ${no}`);
  }
});

test("credentials do not follow a redirect to another host, nor do forms; circles end", async (t) => {
  const seen: (string | undefined)[] = [];
  const other = await listen(
    t,
    createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end("there");
    }),
  );
  const first = await listen(
    t,
    createServer((request, response) => {
      const to = request.url === "/circle" ? "/circle" : `http://127.0.0.1:${other}/`;
      response.writeHead(307, { location: to }).end();
    }),
  );
  const headers = { authorization: "Basic c2VjcmV0" };
  assert.equal((await get(`http://127.0.0.1:${first}/`, {}, headers)).text, "there");
  assert.deepEqual(seen, [undefined]);
  await assert.rejects(get(`http://127.0.0.1:${first}/circle`, {}), /stopped after 10 redirects/);
  const transport = makeTransport({ insecure: false, proxy: noProxy });
  await assert.rejects(
    exchange({ method: "POST", url: `http://127.0.0.1:${first}/`, headers, body: "secret=1", transport }),
    /redirect of a form to .* refused/,
  );
  assert.equal(seen.length, 1);
});

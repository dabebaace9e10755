import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import type { RegistryAuth } from "#api-types/image.ts";
import { FakeRegistry, refuse } from "../testing/fake-registry.ts";
import { fileLayer, testImage } from "../testing/images.ts";
import { imageFixture } from "../testing/temporary.ts";
import { parseChallenges } from "./challenge.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A token server on loopback; answers its address. */
async function tokenServer(t: TestContext, answer: Answer): Promise<string> {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    answer(request, response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
}

/** Lets in only requests with this Authorization header; others get the challenge. */
function guard(registry: FakeRegistry, authorization: string, challenge: string): void {
  registry.fault = (request, response) => {
    if (request.headers.authorization === authorization) return false;
    response.setHeader("www-authenticate", challenge);
    refuse(response, 401, "UNAUTHORIZED", "authentication required");
    return true;
  };
}

async function setUp(t: TestContext) {
  const fixture = await imageFixture(t);
  const registry = await FakeRegistry.start(t);
  registry.publish("team/thing", "latest", testImage([fileLayer("a")]));
  const pull = (auth?: RegistryAuth) =>
    fixture.service.pull({
      name: `${registry.host}/team/thing`,
      tag: "",
      platform: "",
      report: () => {},
      ...(auth === undefined ? {} : { auth }),
    });
  return { fixture, registry, pull };
}

test("fetches a bearer token for the repository, once", async (t) => {
  const { fixture, registry, pull } = await setUp(t);
  const asked: string[] = [];
  const realm = await tokenServer(t, (request, response) => {
    asked.push(`${request.url} ${request.headers.authorization ?? "anonymous"}`);
    response.end(JSON.stringify({ token: "t0ken", expires_in: 300 }));
  });
  guard(registry, "Bearer t0ken", `Bearer realm="${realm}",service="reg",scope="repository:team/thing:pull"`);
  await pull();
  assert.deepEqual(asked, ["/token?service=reg&scope=repository%3Ateam%2Fthing%3Apull anonymous"]);
  assert.equal(fixture.service.count(), 1);
  await pull();
  assert.equal(asked.length, 1);
});

test("sends the user's credentials to the token server, and a refresh token by form", async (t) => {
  const { registry, pull } = await setUp(t);
  const asked: string[] = [];
  const realm = await tokenServer(t, (request, response, body) => {
    asked.push(`${request.method} ${request.headers.authorization ?? ""}${body}`);
    response.end(JSON.stringify({ access_token: "t0ken" }));
  });
  guard(registry, "Bearer t0ken", `Bearer realm="${realm}",service="reg"`);
  await pull({ username: "me", password: "secret" });
  await pull({ identitytoken: "refresh" });
  assert.deepEqual(asked, [
    `GET Basic ${Buffer.from("me:secret").toString("base64")}`,
    "POST grant_type=refresh_token&refresh_token=refresh&client_id=berth&service=reg&scope=repository%3Ateam%2Fthing%3Apull",
  ]);
});

test("an expired token is replaced", async (t) => {
  const { registry, pull } = await setUp(t);
  let issued = 0;
  const realm = await tokenServer(t, (_, response) => {
    response.end(JSON.stringify({ token: `t${++issued}`, expires_in: 300 }));
  });
  const challenge = `Bearer realm="${realm}",service="reg"`;
  guard(registry, "Bearer t1", challenge);
  await pull();
  guard(registry, "Bearer t2", challenge);
  await pull();
  assert.equal(issued, 2);
});

test("basic authentication, with and without credentials", async (t) => {
  const { registry, pull } = await setUp(t);
  const good = `Basic ${Buffer.from("me:secret").toString("base64")}`;
  guard(registry, good, 'Basic realm="reg"');
  await assert.rejects(pull(), {
    message: `Head "http://${registry.host}/v2/team/thing/manifests/latest": no basic auth credentials`,
  });
  await assert.rejects(pull({}), { message: /no basic auth credentials/ });
  await assert.rejects(pull({ username: "me", password: "wrong" }), {
    message: /^unauthorized: authentication required/,
  });
  await pull({ username: "me", password: "secret" });
});

test("access denied, with the sentence that scripts look for", async (t) => {
  const { registry, pull } = await setUp(t);
  const realm = await tokenServer(t, (_, response) => void response.end(JSON.stringify({ token: "weak" })));
  registry.fault = (request, response) => {
    if (request.url === "/v2/") return false;
    const scope = request.headers.authorization === undefined ? "" : ',error="insufficient_scope"';
    response.setHeader("www-authenticate", `Bearer realm="${realm}",service="reg"${scope}`);
    refuse(response, 401, "UNAUTHORIZED", "authentication required");
    return true;
  };
  await assert.rejects(pull(), {
    code: "not-found",
    message: `pull access denied for ${registry.host}/team/thing, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
  });
});

test("a token server that answers nonsense", async (t) => {
  const { registry, pull } = await setUp(t);
  let answer = "<html>";
  const realm = await tokenServer(t, (_, response) => void response.end(answer));
  guard(registry, "Bearer x", `Bearer realm="${realm}"`);
  await assert.rejects(pull(), { message: /did not include a token/ });
  answer = JSON.stringify({ token: "a\r\nX-Evil: 1" });
  await assert.rejects(pull(), { message: /did not include a token/ });
  guard(registry, "Bearer x", 'Bearer realm="file:///etc/passwd"');
  await assert.rejects(pull(), { message: /invalid token server address/ });
});

test("a redirect to another host does not carry the credentials along", async (t) => {
  const { fixture, registry, pull } = await setUp(t);
  const storage = await FakeRegistry.start(t);
  storage.blobs.clear();
  for (const [digest, bytes] of registry.blobs) storage.blobs.set(digest, bytes);
  const seen: (string | undefined)[] = [];
  storage.fault = (request) => {
    seen.push(request.headers.authorization);
    return false;
  };
  const good = `Basic ${Buffer.from("me:secret").toString("base64")}`;
  registry.fault = (request, response) => {
    if (request.headers.authorization !== good) {
      response.writeHead(401, { "www-authenticate": "Basic" }).end();
      return true;
    }
    if (!request.url?.includes("/blobs/")) return false;
    response.writeHead(307, { location: `http://${storage.host}${request.url}` }).end();
    return true;
  };
  await pull({ username: "me", password: "secret" });
  assert.equal(fixture.service.count(), 1);
  assert.deepEqual(seen, [undefined, undefined]);
});

test("a registry that redirects in circles", async (t) => {
  const { registry, pull } = await setUp(t);
  registry.fault = (request, response) => {
    if (request.url === "/v2/") return false;
    response.writeHead(302, { location: request.url }).end();
    return true;
  };
  await assert.rejects(pull(), { message: /stopped after 10 redirects/ });
});

test("challenges", () => {
  const one = (scheme: string, parameters: Record<string, string>) => ({ scheme, parameters });
  const plain = (header: string | undefined) =>
    parseChallenges(header).map(({ scheme, parameters }) => one(scheme, { ...parameters }));
  assert.deepEqual(plain(undefined), []);
  assert.deepEqual(plain("Basic"), [one("basic", {})]);
  assert.deepEqual(plain('Bearer realm="https://a/b?c=d,e", Service = x , scope="a \\"b\\""'), [
    one("bearer", { realm: "https://a/b?c=d,e", service: "x", scope: 'a "b"' }),
  ]);
  assert.deepEqual(plain('Basic realm="r", Bearer realm="s",service="t"'), [
    one("basic", { realm: "r" }),
    one("bearer", { realm: "s", service: "t" }),
  ]);
  assert.deepEqual(plain("=;"), []);
});

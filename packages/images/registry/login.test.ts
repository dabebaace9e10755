import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { FakeRegistry, refuse } from "../testing/fake-registry.ts";
import { fileLayer, testImage } from "../testing/images.ts";
import { imageFixture } from "../testing/temporary.ts";
import { registryOf } from "./login.ts";

type Answer = (url: URL, request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A token server; its address as a realm. */
async function tokenServer(t: TestContext, answer: Answer): Promise<string> {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    answer(new URL(request.url ?? "", "http://x"), request, response, body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;
}

const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;

test("login with a password: good, bad, missing", async (t) => {
  const { service } = await imageFixture(t);
  const registry = await FakeRegistry.start(t);
  registry.fault = (request, response) => {
    if (request.headers.authorization === basic("me:secret")) return false;
    response.setHeader("www-authenticate", 'Basic realm="r"');
    refuse(response, 401, "UNAUTHORIZED", "authentication required");
    return true;
  };
  const logIn = (username: string, password: string) =>
    service.registries.logIn({ username, password, serveraddress: registry.host });
  assert.deepEqual(await logIn("me", "secret"), { Status: "Login Succeeded", IdentityToken: "" });
  await assert.rejects(logIn("me", "wrong"), {
    code: "unauthorized",
    message: `login attempt to http://${registry.host}/v2/ failed with status: 401 Unauthorized`,
  });
  await assert.rejects(logIn("", ""), {
    code: "unauthorized",
    message: `Get "http://${registry.host}/v2/": no basic auth credentials`,
  });
  registry.fault = () => false;
  assert.equal((await logIn("any", "body")).Status, "Login Succeeded");
  await registry.stop();
  await assert.rejects(logIn("me", "secret"), { code: "internal", message: /connection refused$/ });
});

test("login at a token server: a token in the password's place, refused in its words", async (t) => {
  const { service } = await imageFixture(t);
  const registry = await FakeRegistry.start(t);
  const asked: string[] = [];
  const realm = await tokenServer(t, (url, request, response) => {
    asked.push(url.search);
    if (request.headers.authorization !== basic("me:secret")) {
      refuse(response, 401, "UNAUTHORIZED", "incorrect username or password");
    } else response.end(JSON.stringify({ token: "t0ken", refresh_token: "for later" }));
  });
  registry.fault = (request, response) => {
    if (request.headers.authorization === "Bearer t0ken") return false;
    response.setHeader("www-authenticate", `Bearer realm="${realm}",service="reg"`);
    refuse(response, 401, "UNAUTHORIZED", "authentication required");
    return true;
  };
  const logIn = (password: string) =>
    service.registries.logIn({ username: "me", password, serveraddress: `http://${registry.host}/v1/` });
  assert.deepEqual(await logIn("secret"), { Status: "Login Succeeded", IdentityToken: "for later" });
  assert.deepEqual(asked, ["?service=reg&account=me&offline_token=true&client_id=berth"]);
  await assert.rejects(logIn("wrong"), {
    code: "unauthorized",
    message: `Get "http://${registry.host}/v2/": unauthorized: incorrect username or password`,
  });
});

test("a push asks for the rights it needs, for a mount also in the other repository", async (t) => {
  const { service } = await imageFixture(t);
  const registry = await FakeRegistry.start(t);
  const built = testImage([fileLayer("a")]);
  const published = registry.publish("team/thing", "latest", built, { linked: true });
  registry.linked.add(`team/thing ${published.config.digest}`);
  const scopes: string[] = [];
  const realm = await tokenServer(t, (url, _, response) => {
    const scope = url.searchParams.getAll("scope").join(" ");
    scopes.push(scope);
    response.end(JSON.stringify({ token: Buffer.from(scope).toString("base64url"), expires_in: 300 }));
  });
  registry.fault = (request, response) => {
    const needed = scopeOf(request);
    const token = (request.headers.authorization ?? "").replace("Bearer ", "");
    const held = Buffer.from(token, "base64url").toString();
    if (held !== "" && needed.every((scope) => grants(held, scope))) return false;
    const wanted = needed.length === 0 ? "" : `,scope="${needed.join(" ")}"`;
    response.setHeader("www-authenticate", `Bearer realm="${realm}",service="reg"${wanted}`);
    refuse(response, 401, "UNAUTHORIZED", "authentication required");
    return true;
  };
  const auth = { username: "me", password: "secret" };
  const name = `${registry.host}/team/thing`;
  await service.pull({ name, tag: "", platform: "", auth, report: () => {} });
  service.tag(name, `${registry.host}/other/place`, "latest");
  scopes.length = 0;
  await service.push({
    name: `${registry.host}/other/place`,
    tag: "latest",
    platform: "",
    auth,
    report: () => {},
  });
  assert.ok(registry.manifests.has("other/place:latest"));
  assert.deepEqual(
    registry.requests.filter((line) => line.startsWith("PATCH")),
    [],
  );
  assert.deepEqual(scopes, [
    "repository:other/place:pull,push",
    "repository:other/place:pull,push repository:team/thing:pull",
  ]);
});

/** What a registry wants for a request, as docker's own does. */
function scopeOf(request: IncomingMessage): string[] {
  const url = new URL(request.url ?? "", "http://x");
  const repository = /^\/v2\/(.+?)\/(?:blobs|manifests)\//.exec(url.pathname)?.[1];
  if (repository === undefined) return [];
  const actions = request.method === "GET" || request.method === "HEAD" ? "pull" : "pull,push";
  const from = url.searchParams.get("from");
  return [`repository:${repository}:${actions}`, ...(from === null ? [] : [`repository:${from}:pull`])];
}

function grants(held: string, scope: string): boolean {
  const [, name, actions = ""] = scope.split(":");
  return held.split(" ").some((one) => {
    const [, other, given = ""] = one.split(":");
    return other === name && actions.split(",").every((action) => given.split(",").includes(action));
  });
}

test("what is no address is refused", async (t) => {
  const { service } = await imageFixture(t);
  for (const serveraddress of ["a b", "host:99999", "https://host:99999/v1/"]) {
    await assert.rejects(service.registries.logIn({ username: "me", password: "secret", serveraddress }), {
      code: "invalid",
      operation: "log in",
      message: /^unable to parse server address: (a b|host:99999)$/,
    });
  }
  await assert.rejects(service.pull({ name: "host:99999/thing", tag: "", platform: "", report: () => {} }), {
    code: "invalid",
    operation: "pull image",
  });
});

test("names of registries in a login", () => {
  for (const hub of ["", "docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"]) {
    assert.equal(registryOf(hub), "docker.io");
  }
  assert.equal(registryOf("https://reg.example:5000/v2/"), "reg.example:5000");
});

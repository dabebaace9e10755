/** The server from outside, over a unix socket, with a fake engine behind it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { describe, it } from "node:test";
import { BerthError } from "#errors/errors.ts";
import { descriptorLimit } from "#kernel/process-limits.ts";
import { handlers } from "./handlers.ts";
import { documentedOperations, undocumentedOperations } from "./operations.ts";
import { eventually, Served, textOf } from "./testing/served.ts";

describe("versions and unknown paths", () => {
  it("pings with what clients negotiate from", async () => {
    await using served = await Served.start();
    for (const [method, text] of [
      ["GET", "OK"],
      ["HEAD", ""],
    ] as const) {
      const answer = await served.ask(method, "/_ping");
      assert.equal(answer.status, 200);
      assert.equal(answer.text, text);
      assert.equal(answer.headers["api-version"], "1.51");
      assert.equal(answer.headers["docker-experimental"], "false");
      assert.equal(answer.headers.ostype, "linux");
      assert.equal(answer.headers["builder-version"], "1");
      assert.equal(answer.headers.swarm, "inactive");
      assert.equal(answer.headers.server, "Berth/0.1.0 (linux)");
      assert.equal(answer.headers["cache-control"], "no-cache, no-store, must-revalidate");
      assert.equal(answer.headers.pragma, "no-cache");
    }
  });

  it("refuses versions it doesn't speak", async () => {
    await using served = await Served.start();
    assert.equal((await served.ask("GET", "/v1.24/version")).status, 200);
    const late = await served.ask("GET", "/v1.99/containers/json");
    assert.equal(late.status, 400);
    assert.equal(late.json.message, "client version 1.99 is too new. Maximum supported API version is 1.51");
    // Such a client knows no JSON errors.
    const early = await served.ask("GET", "/v1.12/info");
    assert.equal(early.headers["content-type"], "text/plain; charset=utf-8");
    assert.match(early.text, /^client version 1\.12 is too old\. Minimum .*\n$/);
  });

  it("answers 404 for what isn't there, whatever the path", async () => {
    await using served = await Served.start();
    for (const path of [
      "/",
      "/nonsense",
      "/v1.41/nonsense",
      "/v1.99/nonsense",
      "/containers/x/nonsense",
      "/%00",
      "/a?b#c",
      "//",
    ]) {
      const answer = await served.ask("GET", path);
      assert.equal(answer.status, 404, path);
      assert.deepEqual(answer.json, { message: "page not found" });
    }
    assert.equal((await served.ask("PUT", "/containers/json")).status, 404);
    assert.equal((await served.ask("GET", "/images/%zz/json")).status, 400);
    assert.equal((await served.ask("HEAD", "/nonsense")).status, 404);
  });

  it("serves every operation or says 501 with its name", async () => {
    await using served = await Served.start({ experimental: true });
    const missing: string[] = [];
    for (const { id, method, path } of [...documentedOperations, ...undocumentedOperations]) {
      // Some answers never end; the status is enough.
      const response = await served.open(method, `/v1.51${path.replace(/\{[a-z]+\}/g, "some/name")}`);
      assert.equal(response.statusCode === 501, handlers[id] === undefined, `${id}: ${response.statusCode}`);
      if (response.statusCode === 501) {
        missing.push(id);
        const message = `${method} ${path} (${id}) is not implemented in this Berth`;
        if (method !== "HEAD") assert.deepEqual(JSON.parse(await textOf(response)), { message });
      }
      response.destroy();
    }
    assert.ok(missing.includes("ImageBuild") && !missing.includes("ContainerCreate"));
  });

  it("tells the API versions in /version, for the CLI also in the component", async () => {
    await using served = await Served.start();
    const { json } = await served.ask("GET", "/version");
    assert.equal(json.ApiVersion, "1.51");
    assert.equal(json.MinAPIVersion, "1.24");
    assert.deepEqual(json.Components[0].Details, {
      Arch: "amd64",
      Experimental: "false",
      ApiVersion: "1.51",
      MinAPIVersion: "1.24",
    });
  });
});

describe("bodies", () => {
  const create = async (
    body: string | Buffer | undefined,
    contentType: string | undefined = "application/json",
  ) => {
    await using served = await Served.start();
    const headers = contentType === "" ? {} : { "Content-Type": contentType };
    const { status, json } = await served.ask("POST", "/containers/create", { body, headers });
    return [status, json.message] as const;
  };

  it("must be JSON, in Docker's words", async () => {
    assert.deepEqual(await create("hello"), [400, "invalid JSON: not JSON at all"]);
    assert.deepEqual(await create('{"Image":'), [400, "invalid JSON: unexpected EOF"]);
    assert.deepEqual(await create("[".repeat(100_000)), [400, "invalid JSON: nested deeper than 1000"]);
    assert.deepEqual(await create('{"Image" 1}'), [400, "invalid JSON: unexpected character at offset 9"]);
    assert.deepEqual(await create("{} {}"), [400, "unexpected content after JSON"]);
    assert.deepEqual(await create(""), [400, "invalid JSON: got EOF while reading request body"]);
    assert.deepEqual(await create(undefined, ""), [400, "invalid JSON: got EOF while reading request body"]);
    assert.deepEqual(await create('{"Image":7}'), [
      400,
      "invalid JSON: Image must be a string, not a number",
    ]);
    assert.deepEqual(await create("[]"), [400, "invalid JSON: the body must be an object, not a list"]);
    assert.deepEqual(await create("{}"), [400, "config cannot be empty in order to create a container"]);
    assert.deepEqual(await create('{"HostConfig":{}}'), [
      400,
      "config cannot be empty in order to create a container",
    ]);
  });

  it("must say that they are", async () => {
    const text = "unsupported Content-Type header (text/plain): must be 'application/json'";
    assert.deepEqual(await create("{}", "text/plain"), [400, text]);
    assert.deepEqual(await create("{}", "nonsense"), [400, "malformed Content-Type header (nonsense)"]);
    assert.match((await create("{}", ""))[1], /^malformed Content-Type header \(\)/);
    assert.equal((await create('{"Image":"x"}', "application/JSON; charset=utf-8"))[0], 201);
  });

  it("never show a piece of themselves in an error", async () => {
    assert.doesNotMatch((await create('{"a":hunter2}'))[1], /hunter/);
  });

  it("of 100 MB are refused before they are sent, and the connection stays good", async () => {
    await using served = await Served.start();
    const size = 100 * 1024 * 1024;
    const piece = Buffer.alloc(1024 * 1024, 0x20);
    for (const chunked of [false, true]) {
      const raw = served.connect();
      const length = chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${size}`;
      raw.send(
        `POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${length}\r\n\r\n`,
      );
      const send = async (count: number): Promise<void> => {
        for (let sent = 0; sent < count; sent++) {
          if (chunked) raw.send("100000\r\n");
          if (!raw.socket.write(piece)) await new Promise((resolve) => raw.socket.once("drain", resolve));
          if (chunked) raw.send("\r\n");
        }
      };
      // Where the head tells the length not a byte of the body is needed; else one more than the limit.
      const first = chunked ? 5 : 0;
      await send(first);
      const text = await raw.until("}\n");
      assert.match(text, /^HTTP\/1\.1 413 /);
      assert.match(text, /request body too large: the limit is 4194304 bytes/);
      await send(100 - first);
      if (chunked) raw.send("0\r\n\r\n");
      raw.send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
      assert.match(await raw.until("\r\n\r\nOK"), /OK$/);
      raw.socket.destroy();
    }
  });

  it("that break off harm nobody", async () => {
    await using served = await Served.start();
    const raw = served.connect();
    raw.send(
      "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
    );
    raw.socket.end();
    await raw.end();
    assert.equal((await served.ask("GET", "/_ping")).status, 200);
  });
});

describe("errors", () => {
  it("carry Docker's text, and the hint beside it", async () => {
    await using served = await Served.start();
    await served.ask("POST", "/containers/create?name=a", { body: { Image: "x" } });
    const conflict = await served.ask("POST", "/containers/create?name=a", { body: { Image: "x" } });
    assert.equal(conflict.status, 409);
    assert.deepEqual(conflict.json, {
      message: 'Conflict. The container name "/a" is already in use',
      hint: "Remove or rename it.",
    });
    const gone = await served.ask("GET", "/containers/none/json");
    assert.equal(gone.status, 404);
    assert.deepEqual(gone.json, { message: "No such container: none" });
  });

  it("of the unexpected kind are logged and not told", async () => {
    await using served = await Served.start();
    served.engine.containers.top = () => Promise.reject(new TypeError("secret-token is undefined"));
    const { status, json } = await served.ask("GET", "/containers/x/top");
    assert.equal(status, 500);
    assert.match(json.message, /^internal error \(reference [0-9a-f]{8} in the daemon's log\)$/);
    const logged = served.log.find(({ level }) => level === "error");
    assert.match(String(logged?.fields?.stack), /secret-token/);
    assert.equal(logged?.fields?.operation, "ContainerTop");
  });

  it("of HTTP itself are answered", async () => {
    await using served = await Served.start();
    assert.match(
      await served.connect().send("nonsense\r\n\r\n").end(),
      /^HTTP\/1\.1 400 Bad Request[\s\S]*malformed HTTP request/,
    );
    const long = await served
      .connect()
      .send(`GET /_ping HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(300_000)}\r\n\r\n`)
      .end();
    assert.match(long, /^HTTP\/1\.1 431 /);
  });
});

describe("containers", () => {
  it("map their verbs, statuses and parameters", async () => {
    await using served = await Served.start();
    const { engine } = served;
    const created = await served.ask("POST", "/v1.50/containers/create?name=c&platform=linux/amd64", {
      body: { Image: "busybox", Cmd: ["sleep"], HostConfig: { Memory: 5 } },
    });
    assert.equal(created.status, 201);
    assert.deepEqual(created.json.Warnings, []);
    assert.ok(engine.called("create", "c"));
    assert.deepEqual(engine.calls[0]?.slice(2), [
      { Image: "busybox", Cmd: ["sleep"], HostConfig: { Memory: 5 } },
      "linux/amd64",
    ]);

    const id = created.json.Id;
    assert.equal((await served.ask("POST", `/containers/${id}/start`)).status, 204);
    assert.equal((await served.ask("POST", `/containers/${id}/start`)).status, 304);
    const body = { Binds: ["/a:/a"] };
    assert.equal((await served.ask("POST", `/containers/${id}/start`, { body })).status, 400);
    assert.equal((await served.ask("GET", "/containers/c/json")).json.State.Running, true);
    assert.equal(
      (await served.ask("GET", "/containers/json?filters=%7B%22status%22%3A%5B%22running%22%5D%7D")).json
        .length,
      1,
    );
    assert.deepEqual(engine.calls.at(-1), [
      "list",
      { all: false, limit: 0, size: false, filters: { status: ["running"] } },
    ]);
    assert.equal((await served.ask("GET", "/containers/json?filters=x")).status, 400);
    assert.equal((await served.ask("POST", "/containers/c/resize?h=24&w=80")).status, 200);
    assert.ok(engine.called("resize", "c", 24, 80));
    assert.equal((await served.ask("POST", "/containers/c/resize?h=24")).status, 400);
    assert.deepEqual((await served.ask("GET", "/containers/c/top?ps_args=aux")).json.Titles, ["PID", "CMD"]);
    assert.ok(engine.called("top", "c", "aux"));
    for (const verb of ["pause", "unpause", "restart?t=3&signal=INT"]) {
      assert.equal((await served.ask("POST", `/containers/c/${verb}`)).status, 204);
    }
    assert.deepEqual(engine.calls.at(-1), ["restart", "c", { signal: "INT", timeout: 3 }]);
    assert.equal((await served.ask("POST", "/containers/c/stop?t=x")).status, 400);
    assert.equal((await served.ask("POST", "/v1.41/containers/c/stop?t=1&signal=INT")).status, 204);
    assert.deepEqual(engine.calls.at(-1), ["stop", "c", { timeout: 1 }]);
    assert.equal((await served.ask("POST", "/containers/c/kill")).status, 204);
    assert.ok(engine.called("kill", "c", "SIGKILL"));
    assert.equal((await served.ask("POST", "/containers/c/rename?name=d")).status, 204);
    assert.equal((await served.ask("GET", "/berth/containers/d/program")).text, "program of d\n");
    assert.equal((await served.ask("DELETE", "/containers/d?force=1&v=true")).status, 204);
    assert.deepEqual(engine.calls.at(-1), ["remove", "d", { force: true, volumes: true, link: false }]);
    assert.deepEqual((await served.ask("POST", "/containers/prune")).json, {
      ContainersDeleted: null,
      SpaceReclaimed: 0,
    });
  });

  it("of older clients get the defaults of their time", async () => {
    await using served = await Served.start();
    const hostConfigFor = async (version: string) => {
      const body = { Image: "x", HostConfig: { AutoRemove: true } };
      await served.ask("POST", `/v${version}/containers/create`, { body });
      const [, , request] = served.engine.calls.at(-1) ?? [];
      return (request as { HostConfig: object }).HostConfig;
    };
    assert.deepEqual(await hostConfigFor("1.24"), {
      AutoRemove: false,
      CgroupnsMode: "host",
      IpcMode: "shareable",
    });
    assert.deepEqual(await hostConfigFor("1.40"), { AutoRemove: true, CgroupnsMode: "host" });
    assert.deepEqual(await hostConfigFor("1.51"), { AutoRemove: true });
    const body = { Image: "x", NetworkingConfig: { EndpointsConfig: { a: {}, b: {} } } };
    assert.equal((await served.ask("POST", "/v1.43/containers/create", { body })).status, 400);
    assert.equal((await served.ask("POST", "/v1.44/containers/create", { body })).status, 201);
  });

  it("can be waited for before they are started", async () => {
    await using served = await Served.start();
    const id = await served.createContainer(["exit", "7"]);
    const response = await served.open("POST", `/v1.50/containers/${id}/wait?condition=next-exit`);
    assert.equal(response.statusCode, 200);
    await served.ask("POST", `/containers/${id}/start`);
    assert.deepEqual(JSON.parse(await textOf(response)), { StatusCode: 7 });
    assert.equal(
      (await served.ask("POST", `/containers/${id}/wait?condition=odd`)).json.message,
      'invalid condition: "odd"',
    );
    assert.equal((await served.ask("POST", "/containers/none/wait")).status, 404);
  });

  it("are waited for no longer than somebody does", async () => {
    await using served = await Served.start();
    const id = await served.createContainer(["sleep"]);
    await served.ask("POST", `/containers/${id}/start`);
    const response = await served.open("POST", `/containers/${id}/wait`);
    response.destroy();
    await eventually(() => served.engine.called("wait aborted"), "the wait to be given up");
    assert.equal((await served.ask("GET", "/_ping")).status, 200);
  });

  it("have logs that stream until nobody reads", async () => {
    await using served = await Served.start();
    const id = await served.createContainer(["cat"], { OpenStdin: true });
    await served.ask("POST", `/containers/${id}/start`);
    const query = "follow=1&stdout=1&since=1700000000.5&until=0&tail=5&timestamps=1";
    const response = await served.open("GET", `/v1.50/containers/${id}/logs?${query}`);
    assert.equal(response.headers["content-type"], "application/vnd.docker.multiplexed-stream");
    const call = served.engine.calls.find(([name]) => name === "logs");
    assert.deepEqual(call?.[2], {
      follow: true,
      stdout: true,
      stderr: false,
      since: 1_700_000_000_500_000_000n,
      until: undefined,
      timestamps: true,
      tail: 5,
      details: false,
    });
    response.destroy();
    await eventually(() => served.engine.called("logs aborted"), "the logs to be given up");
    assert.equal(
      (await served.ask("GET", `/containers/${id}/logs`)).json.message,
      "Bad parameters: you must choose at least one stream",
    );
    const old = await served.ask("GET", `/v1.41/containers/${id}/logs?stdout=1&tail=all`);
    assert.equal(old.headers["content-type"], "application/vnd.docker.raw-stream");
    assert.equal((await served.ask("GET", `/containers/${id}/logs?stdout=1&since=soon`)).status, 400);
  });

  it("have logs that tell in the stream what went wrong", async () => {
    await using served = await Served.start();
    const { PassThrough } = await import("node:stream");
    served.engine.containers.logs = async () => {
      const stream = new PassThrough();
      stream.write("first");
      setTimeout(
        () => stream.destroy(new BerthError("internal", "disk on fire", { operation: "read logs" })),
        20,
      );
      return { tty: true, stream };
    };
    const answer = await served.ask("GET", "/containers/x/logs?stdout=1");
    assert.equal(answer.status, 200);
    assert.equal(answer.text, "firstError grabbing logs: disk on fire\n");
  });
});

describe("images", () => {
  it("are pulled with progress line by line, and fail in the stream once it has begun", async () => {
    await using served = await Served.start();
    const auth = Buffer.from(JSON.stringify({ username: "u", password: "p" })).toString("base64url");
    const pulled = await served.ask("POST", "/images/create?fromImage=busybox&tag=1.2", {
      headers: { "X-Registry-Auth": auth },
    });
    assert.equal(pulled.status, 200);
    assert.equal(pulled.headers["content-type"], "application/json");
    const lines = pulled.text
      .trimEnd()
      .split("\r\n")
      .map((line) => JSON.parse(line));
    assert.deepEqual(lines[0], { status: "Pulling from busybox", id: "1.2" });
    assert.equal(lines.length, 4);
    assert.deepEqual(served.engine.calls.at(-1), [
      "pull",
      "busybox",
      "1.2",
      { username: "u", password: "p" },
    ]);
    assert.ok(!JSON.stringify(served.log).includes(auth));

    const missing = await served.ask("POST", "/images/create?fromImage=missing&tag=1");
    assert.equal(missing.status, 404);
    assert.deepEqual(missing.json, { message: "manifest for missing:1 not found: manifest unknown" });

    const broken = await served.ask("POST", "/images/create?fromImage=broken&tag=1");
    assert.equal(broken.status, 200);
    assert.deepEqual(JSON.parse(broken.text.trimEnd().split("\r\n").at(-1) ?? ""), {
      errorDetail: { message: "unexpected EOF" },
      error: "unexpected EOF",
    });
    assert.equal((await served.ask("POST", "/images/create")).status, 400);
    const fetched = await served.ask("POST", "/images/create?fromSrc=http://x/y.tar");
    assert.equal(fetched.status, 200);
    const message = "Imported from http://x/y.tar";
    assert.deepEqual(served.engine.calls.at(-1), ["import", "http://x/y.tar", undefined, message, []]);
  });

  it("show progress as it happens, and stop when nobody looks", async () => {
    await using served = await Served.start();
    const response = await served.open("POST", "/images/create?fromImage=slow&tag=1");
    const [first] = await response.take(1).toArray();
    assert.match(String(first), /Pulling from slow/);
    response.destroy();
    await eventually(() => served.engine.called("pull aborted"), "the pull to be given up");
  });

  it("are loaded and imported from the body", async () => {
    await using served = await Served.start();
    const archive = Buffer.alloc(300_000, 1);
    const headers = { "Content-Type": "application/x-tar" };
    const loaded = await served.ask("POST", "/images/load?quiet=0", { body: archive, headers });
    assert.deepEqual(loaded.json, { stream: "Loaded image: loaded:300000\n" });
    assert.ok(served.engine.called("load", 300_000, false));
    const query = "fromSrc=-&repo=mine&tag=1&message=hi&changes=CMD%20x&changes=ENV%20a=b";
    const imported = await served.ask("POST", `/images/create?${query}`, { body: archive, headers });
    assert.deepEqual(imported.json, { status: `sha256:${"1".repeat(64)}` });
    assert.deepEqual(served.engine.calls.at(-1), ["import", 300_000, "mine:1", "hi", ["CMD x", "ENV a=b"]]);
  });

  it("that aren't any are refused, though the client still sends", async () => {
    await using served = await Served.start();
    const raw = served.connect();
    raw.send("POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 1000003\r\n\r\nabc");
    const text = await raw.until("not an archive");
    assert.match(text, /^HTTP\/1\.1 400 /);
    raw.send(Buffer.alloc(1_000_000)).send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
    assert.match(await raw.until("\r\n\r\nOK"), /OK$/);
    raw.socket.destroy();
  });

  it("are listed, inspected, tagged and removed, names with slashes included", async () => {
    await using served = await Served.start();
    assert.equal((await served.ask("GET", "/v1.43/images/json")).json[0].VirtualSize, 4_000_000);
    assert.equal((await served.ask("GET", "/v1.44/images/json?all=1")).json[0].VirtualSize, undefined);
    assert.deepEqual(served.engine.calls.at(-1), [
      "image list",
      { all: true, filters: {}, sharedSize: false },
    ]);
    await served.ask("GET", "/v1.40/images/json?filter=busybox&shared-size=1");
    assert.deepEqual(served.engine.calls.at(-1), [
      "image list",
      { all: false, filters: { reference: ["busybox"] }, sharedSize: true },
    ]);
    assert.deepEqual((await served.ask("GET", "/images/localhost:5000/a/b:1/json")).json.RepoTags, [
      "localhost:5000/a/b:1",
    ]);
    assert.deepEqual((await served.ask("GET", "/images/a%2Fb/json")).json.RepoTags, ["a/b"]);
    assert.equal((await served.ask("GET", "/images/missing/json")).status, 404);
    assert.equal((await served.ask("GET", "/images/a/b/history")).json[0].Id, "a/b");
    assert.equal((await served.ask("POST", "/images/a/b/tag?repo=c/d&tag=2")).status, 201);
    assert.deepEqual(served.engine.calls.at(-1), ["tag", "a/b", "c/d", "2"]);
    const id = await served.createContainer(["sleep"]);
    await served.ask("POST", `/containers/${id}/start`);
    assert.deepEqual((await served.ask("DELETE", "/images/a/b?force=true")).json, [{ Untagged: "a/b" }]);
    assert.deepEqual(served.engine.calls.at(-1), [
      "image remove",
      "a/b",
      true,
      [{ id: id.slice(0, 12), running: true }],
    ]);
  });
});

describe("networks, volumes and the rest", () => {
  it("map their verbs", async () => {
    await using served = await Served.start();
    const { json: networks } = await served.ask(
      "GET",
      "/networks?filters=%7B%22driver%22%3A%5B%22bridge%22%5D%7D",
    );
    assert.deepEqual(
      networks.map((network: { Name: string; Containers: object }) => [network.Name, network.Containers]),
      [
        ["bridge", {}],
        ["mine", {}],
      ],
    );
    assert.equal((await served.ask("GET", "/networks/mine")).json.Containers.abc.Name, "x");
    assert.equal((await served.ask("GET", "/networks/none")).json.message, "network none not found");
    assert.equal((await served.ask("GET", "/networks/mine?scope=swarm")).status, 404);

    assert.equal((await served.ask("GET", "/volumes")).json.Volumes[0].Name, "data");
    assert.equal(
      (await served.ask("POST", "/volumes/create", { body: { Name: "v", Labels: { a: "b" } } })).status,
      201,
    );
    assert.deepEqual(served.engine.calls.at(-1), ["volume create", { Name: "v", Labels: { a: "b" } }]);
    assert.equal((await served.ask("POST", "/volumes/create")).status, 201);
    assert.equal((await served.ask("GET", "/volumes/none")).json.message, "get none: no such volume");
    assert.equal((await served.ask("DELETE", "/volumes/data?force=1")).status, 204);
    await served.ask("POST", "/v1.41/volumes/prune");
    assert.deepEqual(served.engine.calls.at(-1), ["volume prune", { all: ["true"] }]);
    await served.ask("POST", "/v1.42/volumes/prune");
    assert.deepEqual(served.engine.calls.at(-1), ["volume prune", {}]);
    const until = "filters=%7B%22until%22%3A%5B%221h%22%5D%7D";
    for (const [path, call] of [
      ["/containers/prune", "prune"],
      ["/networks/prune", "network prune"],
      ["/build/prune", "build prune"],
    ]) {
      assert.equal((await served.ask("POST", `${path}?${until}`)).status, 200);
      assert.deepEqual(served.engine.calls.at(-1), [call, { until: ["1h"] }]);
    }
    assert.equal((await served.ask("POST", `/images/prune?${until}`)).json.ImagesDeleted, null);
    assert.deepEqual(served.engine.calls.at(-1), ["image prune", { until: ["1h"] }, []]);

    assert.equal((await served.ask("GET", "/info")).json.Driver, "overlay2");
    assert.deepEqual((await served.ask("GET", "/system/df?type=image&type=volume")).json.Images, []);
    assert.deepEqual(served.engine.calls.at(-1), ["disk usage", ["image", "volume"]]);
    assert.equal((await served.ask("GET", "/system/df?type=odd")).json.message, "unknown object type: odd");
    const right = { username: "u", password: "right", serveraddress: "localhost" };
    assert.equal((await served.ask("POST", "/auth", { body: right })).json.Status, "Login Succeeded");
    assert.equal((await served.ask("POST", "/auth", { body: { password: "wrong" } })).status, 401);
    assert.deepEqual((await served.ask("GET", "/plugins")).json, []);
    assert.equal((await served.ask("GET", "/plugins/x/json")).status, 404);
  });
});

describe("events", () => {
  it("come line by line until nobody listens", async () => {
    await using served = await Served.start();
    const response = await served.open(
      "GET",
      "/events?since=1700000000&filters=%7B%22type%22%3A%5B%22container%22%5D%7D",
    );
    assert.equal(response.headers["content-type"], "application/json");
    await eventually(() => served.engine.subscribers === 1, "the subscription");
    const received: string[] = [];
    response.on("data", (chunk: Buffer) => received.push(chunk.toString()));
    served.engine.emit("start", "abc");
    await eventually(() => received.length === 1, "the event");
    assert.equal(JSON.parse(received[0] ?? "").Actor.ID, "abc");
    assert.match(received[0] ?? "", /\n$/);
    response.destroy();
    await eventually(() => served.engine.subscribers === 0, "the end of the subscription");
    assert.equal((await served.ask("GET", "/events?since=2&until=1")).status, 400);
  });

  it("end for a client that shuts its side of the connection down", async () => {
    await using served = await Served.start();
    const raw = served.connect().send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(() => served.engine.subscribers === 1, "the subscription");
    raw.socket.end();
    await raw.end();
    assert.equal(served.engine.subscribers, 0);
  });
});

describe("connections", () => {
  it("answer a client that has shut its side down already", async () => {
    await using served = await Served.start();
    const raw = served.connect();
    raw.send("GET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n");
    raw.socket.end();
    assert.match(await raw.end(), /^HTTP\/1\.1 200 OK[\s\S]*\[\]\n$/);
  });

  it("are kept by the thousand, and answered one after another", async () => {
    await using served = await Served.start();
    // Both ends are in this process, and the server keeps descriptors for what a request needs besides.
    const length = Math.min(1000, Math.floor(descriptorLimit() / 6) - 100);
    const sockets = Array.from({ length }, () => connect({ path: served.socket }));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
    assert.equal((await served.ask("GET", "/_ping")).status, 200);
    const last = sockets.at(-1);
    last?.write("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\nGET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
    let text = "";
    last?.on("data", (chunk) => {
      text += chunk;
    });
    await eventually(() => text.split("\r\n\r\nOK").length === 3, "both answers");
    for (const socket of sockets) socket.destroy();
  });

  it("end when the server closes: what waits is told, what is under way comes to its end", async () => {
    await using served = await Served.start();
    const events = await served.open("GET", "/events");
    const ended = textOf(events);
    const idle = served.connect().send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
    await idle.until("OK");
    await served.server.close(5000);
    assert.equal(await ended, "");
    await idle.end();
    await assert.rejects(served.ask("GET", "/_ping"));
  });

  it("are logged without their queries", async () => {
    await using served = await Served.start();
    await served.ask("GET", "/containers/json?filters=%7B%22label%22%3A%5B%22token%3Dhunter2%22%5D%7D");
    await eventually(() => served.log.some(({ message }) => message === "request"), "the line in the log");
    const line = served.log.find(({ message }) => message === "request");
    assert.equal(line?.level, "debug");
    assert.equal(line?.fields?.status, 200);
    assert.equal(line?.fields?.path, "/containers/json");
    assert.ok(!JSON.stringify(served.log).includes("hunter2"));
  });
});

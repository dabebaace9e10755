import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer as createNetServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import { isBerthError } from "#errors/errors.ts";
import { type LogFields, silentLogger } from "#errors/logger-types.ts";
import { type ApiServer, createApiServer } from "./server.ts";
import { FakeEngine, stdoutFrame } from "./testing/fake-engine.ts";
import { eventually, RawConnection } from "./testing/served.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-listeners-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const make = (engine = new FakeEngine(), warnings: (LogFields | undefined)[] = []): ApiServer =>
  createApiServer({
    engine,
    productVersion: "0.1.0",
    logger: { ...silentLogger, warn: (_, fields) => warnings.push(fields) },
  });
const refused = (message: RegExp) => (error: unknown) => isBerthError(error) && message.test(error.message);
const ping = async (address: string): Promise<string> =>
  (await fetch(`${address.replace("tcp:", "http:")}/_ping`, { headers: { connection: "close" } })).text();

describe("unix sockets", () => {
  it("are made with their directory, for root and the group alone", async () => {
    const server = make();
    const path = join(directory, "new", "deep", "api.sock");
    assert.deepEqual(await server.listen([`unix://${path}`], { group: "daemon" }), [`unix://${path}`]);
    const { mode, gid } = statSync(path);
    assert.equal(mode & 0o777, 0o660);
    const daemon = /^daemon:[^:]*:(\d+):/m.exec(readFileSync("/etc/group", "utf8"))?.[1];
    assert.equal(gid, process.getuid?.() === 0 ? Number(daemon) : gid);
    await server.close();
    assert.ok(!existsSync(path));
  });

  it("stay root's when the group doesn't exist, with a warning", async () => {
    const warnings: (LogFields | undefined)[] = [];
    const server = make(new FakeEngine(), warnings);
    const path = join(directory, "nogroup.sock");
    await server.listen([`unix://${path}`], { group: "no-such-group" });
    assert.equal(warnings[0]?.group, "no-such-group");
    await server.close();
  });

  it("take the place of one that nobody answers on, and of nothing else", async () => {
    const path = join(directory, "taken.sock");
    const script = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    assert.equal(spawnSync(process.execPath, ["-e", script]).signal, "SIGKILL");
    assert.ok(statSync(path).isSocket());
    const first = make();
    await first.listen([`unix://${path}`]);
    const second = make();
    const other = join(directory, "other.sock");
    await assert.rejects(
      second.listen([`unix://${other}`, `unix://${path}`]),
      refused(/^cannot listen on unix:.*: another process is listening there$/),
    );
    // All or none.
    assert.ok(!existsSync(other));
    const file = join(directory, "file");
    writeFileSync(file, "precious");
    await assert.rejects(second.listen([`unix://${file}`]), refused(/isn't a socket/));
    assert.equal(readFileSync(file, "utf8"), "precious");
    const client = new RawConnection(connect(path)).send("GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
    await client.until("OK");
    await first.close();
  });
});

describe("tcp", () => {
  it("is for loopback, with a warning, unless it is asked for", async () => {
    const warnings: (LogFields | undefined)[] = [];
    const server = make(new FakeEngine(), warnings);
    const [address = ""] = await server.listen(["tcp://127.0.0.1:0"]);
    assert.match(address, /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/);
    assert.equal(await ping(address), "OK");
    assert.equal(warnings.length, 1);
    await assert.rejects(
      server.listen(["tcp://0.0.0.0:0"]),
      refused(/^refusing to listen on tcp:\/\/0\.0\.0\.0:0 without TLS$/),
    );
    await assert.rejects(server.listen(["tcp://:0"]), refused(/without TLS/));
    const [open = ""] = await server.listen(["tcp://0.0.0.0:0"], { allowInsecureTcp: true });
    assert.equal(await ping(open.replace("0.0.0.0", "127.0.0.1")), "OK");
    await assert.rejects(server.listen([address]), refused(/the address is in use$/));
    await server.close();
  });
});

describe("TLS", () => {
  const file = (name: string) => join(directory, name);
  const pem = (name: string) => readFileSync(file(name));

  before(() => {
    const openssl = (...argv: string[]) => execFileSync("openssl", argv, { cwd: directory, stdio: "ignore" });
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    openssl("req", "-x509", ...curve, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=test ca");
    for (const name of ["server", "client"]) {
      openssl(
        "req",
        ...curve.slice(0, 5),
        "-keyout",
        `${name}-key.pem`,
        "-out",
        `${name}.csr`,
        "-subj",
        `/CN=${name}`,
      );
      writeFileSync(file("ext"), "subjectAltName=IP:127.0.0.1\n");
      openssl(
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca-key.pem",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "ext",
        "-out",
        `${name}.pem`,
      );
    }
  });

  const client = (port: number, more: ConnectionOptions = {}): RawConnection => {
    const options = { host: "127.0.0.1", port, ca: pem("ca.pem"), allowHalfOpen: true, ...more };
    return new RawConnection(connectTls(options));
  };
  const certified = () => ({ cert: pem("client.pem"), key: pem("client-key.pem") });
  const request = "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n";

  it("lets in who has a certificate of the authority, and hands connections over", async () => {
    const engine = new FakeEngine();
    const server = make(engine);
    const tls = { cert: pem("server.pem"), key: pem("server-key.pem"), ca: pem("ca.pem"), verify: true };
    const [address = ""] = await server.listen(["tcp://0.0.0.0:0"], { tls });
    const port = Number(address.split(":").at(-1));

    const stranger = client(port).send(request);
    assert.doesNotMatch(await stranger.end(), /OK/);
    const friend = client(port, certified()).send(request);
    assert.match(await friend.until("OK"), /^HTTP\/1\.1 200 /);
    friend.socket.destroy();

    const { Id } = await engine.containers.create("", { Cmd: ["cat"] }, "");
    await engine.containers.start(Id);
    for (const upgrade of ["Connection: Upgrade\r\nUpgrade: tcp\r\n", ""]) {
      const exec = await engine.execs.create(Id, { Cmd: ["cat"], AttachStdin: true });
      const raw = client(port, certified()).send(
        `POST /exec/${exec.Id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n${upgrade}\r\n{}input`,
      );
      raw.socket.end();
      const text = await raw.end();
      assert.ok(text.endsWith(`\r\n\r\n${stdoutFrame("input").toString("latin1")}`), text);
    }
    await server.close();
  });

  it("lets everybody in without verification, with a warning", async () => {
    const warnings: (LogFields | undefined)[] = [];
    const server = make(new FakeEngine(), warnings);
    const tls = { cert: pem("server.pem"), key: pem("server-key.pem"), verify: false };
    const [address = ""] = await server.listen(["tcp://127.0.0.1:0"], { tls });
    const raw = client(Number(address.split(":").at(-1))).send(request);
    await raw.until("OK");
    raw.socket.destroy();
    assert.equal(warnings.length, 1);
    await server.close();
  });
});

describe("descriptors passed in", () => {
  it("are listened on by number, by name or all", async () => {
    const module = JSON.stringify(join(import.meta.dirname, "server.ts"));
    const fake = JSON.stringify(join(import.meta.dirname, "testing/fake-engine.ts"));
    const script = `
      const { createApiServer } = await import(${module});
      const { FakeEngine } = await import(${fake});
      const none = () => {};
      const logger = { debug: none, info: none, warn: none, error: none };
      const server = createApiServer({ engine: new FakeEngine(), productVersion: "0", logger });
      console.log(String(await server.listen([process.argv[1]])));
    `;
    for (const [host, environment, expected] of [
      ["fd://", "LISTEN_FDS=1 LISTEN_PID=$$", "fd://3"],
      ["fd://3", "LISTEN_FDS=1 LISTEN_PID=$$", "fd://3"],
      ["fd://api", "LISTEN_FDS=1 LISTEN_FDNAMES=api LISTEN_PID=$$", "fd://3"],
      ["fd://", "LISTEN_FDS=1 LISTEN_PID=1", undefined],
      ["fd://9", "LISTEN_FDS=1 LISTEN_PID=$$", undefined],
    ] as const) {
      const listener = createNetServer();
      const path = join(directory, "passed.sock");
      await new Promise<void>((resolve) => listener.listen(path, resolve));
      const { fd } = (listener as unknown as { _handle: { fd: number } })._handle;
      const command = `${environment} exec "$0" --input-type=module -e "$1" "$2"`;
      const child = spawn("sh", ["-c", command, process.execPath, script, host], {
        stdio: ["ignore", "pipe", "pipe", fd],
        cwd: import.meta.dirname,
      });
      let output = "";
      let errors = "";
      let gone = false;
      child.stdout?.on("data", (chunk) => {
        output += chunk;
      });
      child.stderr?.on("data", (chunk) => {
        errors += chunk;
      });
      child.on("close", () => {
        gone = true;
      });
      await eventually(() => output !== "" || gone, "the child to listen");
      assert.equal(output.trim(), expected ?? "");
      if (expected === undefined) assert.match(errors, /no such descriptor was passed in/);
      // Only the child takes connections now.
      listener.close();
      if (expected !== undefined) child.kill();
      await eventually(() => gone, "the child to end");
    }
  });
});

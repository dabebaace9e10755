/**
 * Published ports by the real command line: every form of -p, both families, who has what is taken, many at once, modes
 * of networks, and traffic that goes on while the daemon is killed and replaced.
 */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hostHasIpv6 } from "#networks/ports/port-reservation.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { freePorts } from "#test/fixtures/free-ports.ts";
import { Dockerd } from "#test/fixtures/peer-engines.ts";

const IMAGE = "berth/busybox";
const noIpv6 = hostHasIpv6() ? false : "the machine has no IPv6";

let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 94 });
  daemon.loadBusybox();
  const source = join(import.meta.dirname, "../fixtures/udp-echo.c");
  execFileSync("gcc", ["-static", "-o", join(daemon.directory, "udp-echo"), source]);
});
after(() => daemon.stop());

const ok = (...args: string[]) => daemon.ok(...args);
const gone = (...names: string[]) => ok("rm", "-f", "-v", ...names);
const mapOf = (name: string) => JSON.parse(ok("inspect", "-f", "{{json .NetworkSettings.Ports}}", name));

/** Answers every connection at port 7, and every datagram at 9000, with what it gets. */
function echo(name: string, ...args: string[]): void {
  const program = join(daemon.directory, "udp-echo");
  const script = "/udp-echo & exec nc -ll -p 7 -e cat";
  ok("run", "-d", "--name", name, "-v", `${program}:/udp-echo:ro`, ...args, IMAGE, "sh", "-c", script);
}

function say(host: string, port: number, text = "hello"): Promise<string> {
  return new Promise((resolve) => {
    let heard = "";
    const socket = connect({ host, port }, () => socket.write(text));
    const end = () => {
      socket.destroy();
      resolve(heard);
    };
    socket.setTimeout(5000, end);
    socket.on("data", (bytes) => {
      heard += bytes;
      if (heard.length === text.length) end();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      heard = error.code ?? "";
      end();
    });
    socket.on("close", end);
  });
}

/** The server inside may still be about to listen. */
async function answers(host: string, port: number): Promise<void> {
  await eventually(async () => assert.equal(await say(host, port), "hello", `${host}:${port}`));
}

function sayUdp(host: string, port: number): Promise<string> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise((resolve) => {
    const timer = setTimeout(() => end(""), 500);
    const end = (heard: string) => {
      clearTimeout(timer);
      socket.close();
      resolve(heard);
    };
    socket.on("error", (error) => end(String(error)));
    socket.on("message", (bytes) => end(bytes.toString()));
    socket.send("hello", port, host);
  });
}

test("every form of -p, and what inspect, port and ps show of it", { skip: noIpv6 }, async () => {
  const first = await freePorts(8);
  const p = (n: number) => String(first + n);
  const forms = [`${p(0)}:80`, `127.0.0.1:${p(1)}:81`, `[::1]:${p(2)}:82`, `${p(3)}-${p(4)}:83-84/udp`];
  forms.push(`0.0.0.0:${p(5)}:85`, `[::]:${p(6)}:86`, `${p(7)}:87/sctp`, "88");
  ok("run", "-d", "--name", "forms", ...forms.flatMap((form) => ["-p", form]), IMAGE, "sleep", "1000");
  const map = mapOf("forms");
  const random = map["88/tcp"][0].HostPort;
  const both = (port: string) => [
    { HostIp: "0.0.0.0", HostPort: port },
    { HostIp: "::", HostPort: port },
  ];
  assert.deepEqual(map, {
    "80/tcp": both(p(0)),
    "81/tcp": [{ HostIp: "127.0.0.1", HostPort: p(1) }],
    "82/tcp": [{ HostIp: "::1", HostPort: p(2) }],
    "83/udp": both(p(3)),
    "84/udp": both(p(4)),
    "85/tcp": [{ HostIp: "0.0.0.0", HostPort: p(5) }],
    "86/tcp": [{ HostIp: "::", HostPort: p(6) }],
    // Nothing relays it: by translation alone.
    "87/sctp": [{ HostIp: "0.0.0.0", HostPort: p(7) }],
    "88/tcp": both(random),
  });
  const range = readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8")
    .trim()
    .split(/\s+/)
    .map(Number);
  assert.ok(Number(random) >= (range[0] ?? 0) && Number(random) <= (range[1] ?? 0), random);
  assert.equal(ok("port", "forms", "80"), `0.0.0.0:${p(0)}\n[::]:${p(0)}`);
  assert.match(ok("port", "forms"), new RegExp(`82/tcp -> \\[::1\\]:${p(2)}`));
  assert.match(
    ok("ps", "--filter", "name=forms", "--format", "{{.Ports}}"),
    new RegExp(`0\\.0\\.0\\.0:${p(0)}->80/tcp, \\[::\\]:${p(0)}->80/tcp`),
  );
  gone("forms");
});

test("ranges: of one length, or one of several for a single port", async () => {
  const first = await freePorts(3);
  const [from, to] = [first, first + 2];
  const uneven = daemon.docker("run", "--rm", "-p", `${from}-${to}:80-81`, IMAGE, "true");
  assert.notEqual(uneven.code, 0);
  assert.match(uneven.stderr, /invalid ranges specified for container and host Ports/);
  for (const name of ["r0", "r1", "r2"])
    ok("run", "-d", "--name", name, "-p", `${from}-${to}:80`, IMAGE, "sleep", "1000");
  assert.deepEqual(
    ["r0", "r1", "r2"].map((name) => mapOf(name)["80/tcp"][0].HostPort),
    [first, first + 1, first + 2].map(String),
  );
  assert.match(
    daemon.refused("run", "--name", "r3", "-p", `${from}-${to}:80`, IMAGE, "true"),
    new RegExp(`Bind for 0\\.0\\.0\\.0:${to} failed: port is already allocated`),
  );
  gone("r0", "r1", "r2", "r3");
});

test("-P takes one number for both families", async () => {
  ok("run", "-d", "--name", "all", "-P", "--expose", "81", "--expose", "53/udp", IMAGE, "sleep", "1000");
  const map: Record<string, { HostPort: string }[]> = mapOf("all");
  assert.deepEqual(Object.keys(map).sort(), ["53/udp", "81/tcp"]);
  for (const bindings of Object.values(map)) {
    assert.equal(bindings.length, noIpv6 ? 1 : 2);
    assert.equal(new Set(bindings.map(({ HostPort }) => HostPort)).size, 1);
  }
  gone("all");
});

test("a port that is taken names its owner", async () => {
  const port = await freePorts();
  echo("owner", "-p", `${port}:7`);
  const second = daemon.refused("run", "--name", "second", "-p", `${port}:7`, IMAGE, "true");
  assert.match(
    second,
    new RegExp(
      `^driver failed programming external connectivity on endpoint second \\([0-9a-f]{64}\\): Bind for 0\\.0\\.0\\.0:${port} failed: port is already allocated\ncontainer owner has it$`,
    ),
  );
  gone("owner", "second");
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, "0.0.0.0", resolve));
  const third = await daemon.dockerAsync("run", "--rm", "-p", `${port}:7`, IMAGE, "true");
  server.close();
  assert.match(third.stderr, /failed to bind host port .*: address already in use\n/);
  assert.match(third.stderr, new RegExp(`\n\\S+ \\(pid ${process.pid}\\) has it\n`));
  // What failed holds nothing.
  await new Promise((resolve) => server.on("close", resolve));
  ok("run", "--rm", "-p", `${port}:7`, IMAGE, "true");
});

test("an address that is not the host's", () => {
  const text = daemon.refused("run", "--rm", "-p", "203.0.113.77::80", IMAGE, "true");
  assert.match(text, /failed to bind host port .*: cannot assign requested address/);
});

test("every way in to a container without IPv6, and to one with it", { skip: noIpv6 }, async () => {
  const port = await freePorts(2);
  ok("network", "create", "--ipv6", "--subnet", "fd00:94:1::/64", "dual94");
  const address = "fd00:94:ffff::1";
  spawnSync("ip", ["addr", "add", `${address}/128`, "dev", "lo"]);
  try {
    const ports = (number: number) => ["-p", `${number}:7`, "-p", `${number}:9000/udp`];
    echo("four", ...ports(port));
    echo("six", "--network", "dual94", ...ports(port + 1), "-p", `[${address}]::8`);
    assert.match(ok("port", "six", "8"), /^\[fd00:94:ffff::1\]:\d+$/);
    for (const number of [port, port + 1]) {
      for (const host of ["127.0.0.1", "::1", daemon.gateway, address]) {
        await answers(host, number);
        await eventually(async () =>
          assert.equal(await sayUdp(host, number), "hello", `${host} ${number}/udp`),
        );
      }
    }
    // From a container: itself, a neighbour, one of another bridge; by the host's addresses.
    const ask = (name: string, host: string, number: number) =>
      daemon.docker("exec", name, "sh", "-c", `echo hello | nc -w 5 ${host} ${number}`).stdout.trim();
    for (const name of ["four", "six"])
      for (const number of [port, port + 1])
        assert.equal(ask(name, daemon.gateway, number), "hello", `${name} to ${number}`);
    for (const number of [port, port + 1])
      assert.equal(ask("six", address, number), "hello", `six to ${number}`);
  } finally {
    spawnSync("ip", ["addr", "del", `${address}/128`, "dev", "lo"]);
    daemon.docker("rm", "-f", "four", "six");
    daemon.docker("network", "rm", "dual94");
  }
});

test("a network's own address for its ports; and ports of a routed one, which has none", async () => {
  ok("network", "create", "-o", "com.docker.network.bridge.host_binding_ipv4=127.0.0.1", "near94");
  ok("network", "create", "-o", "com.docker.network.bridge.gateway_mode_ipv4=routed", "routed94");
  const modes = ["-o", "com.docker.network.bridge.gateway_mode_ipv6=routed"];
  ok("network", "create", "--ipv6", "--subnet", "fd00:94:2::/64", ...modes, "half94");
  const port = await freePorts();
  const map = (network: string) => {
    ok("run", "-d", "--name", "shape", "--network", network, "-p", `${port}:80`, IMAGE, "sleep", "1000");
    const found = mapOf("shape");
    const shown = ok("port", "shape");
    gone("shape");
    return { map: found["80/tcp"], shown };
  };
  const at = (HostIp: string, HostPort: string) => ({ HostIp, HostPort });
  const near = map("near94");
  assert.deepEqual(near.map, [at("127.0.0.1", String(port))]);
  const routed = map("routed94");
  assert.deepEqual(routed.map[0], at("0.0.0.0", ""));
  assert.match(routed.shown, /^80\/tcp -> 0\.0\.0\.0:/);
  const half = map("half94").map;
  assert.deepEqual(half[0], at("0.0.0.0", String(port)));
  if (!noIpv6) assert.deepEqual(half[1], at("::", ""));
  assert.match(
    daemon.refused("network", "create", "-o", "com.docker.network.bridge.gateway_mode_ipv4=sideways", "x94"),
    /unknown gateway mode sideways/,
  );
  ok("network", "rm", "near94", "routed94", "half94");
});

/** A connection on which something is said all the time. */
class Talk {
  readonly socket: Socket;
  heard = "";
  said = "";
  ended = false;
  readonly #timer: NodeJS.Timeout;

  constructor(host: string, port: number) {
    this.socket = connect({ host, port });
    this.socket.on("data", (bytes) => {
      this.heard += bytes;
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.ended = true;
    });
    let count = 0;
    this.#timer = setInterval(() => {
      const text = `${count++} `;
      this.said += text;
      this.socket.write(text);
    }, 5);
  }

  /** Something more was heard than now. */
  async goesOn(): Promise<void> {
    const now = this.heard.length;
    await eventually(() => {
      assert.equal(this.ended, false, "the connection has ended");
      assert.ok(this.heard.length > now + 20);
    });
  }

  async end(): Promise<void> {
    clearInterval(this.#timer);
    await eventually(() => assert.equal(this.heard, this.said));
    this.socket.destroy();
  }
}

function proxies(): number[] {
  const socket = join(daemon.execRoot, "proxy.sock");
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(socket);
      } catch {
        return false;
      }
    });
}

describe("when the daemon is killed", () => {
  test("connections through published ports go on, and the next daemon has the ports", async () => {
    const port = await freePorts();
    echo("talker", "-p", `${port}:7`);
    const hosts = ["127.0.0.1", daemon.gateway, ...(noIpv6 ? [] : ["::1"])];
    for (const host of hosts) await answers(host, port);
    const talks = hosts.map((host) => new Talk(host, port));
    for (const talk of talks) await talk.goesOn();
    const before = proxies();
    assert.equal(before.length, noIpv6 ? 0 : 1);
    await daemon.kill();
    for (const talk of talks) await talk.goesOn();
    // New ones, too, while nobody is there.
    for (const host of hosts) await answers(host, port);
    await daemon.boot();
    for (const talk of talks) await talk.goesOn();
    for (const host of hosts) await answers(host, port);
    assert.deepEqual(proxies(), before);
    assert.match(
      daemon.refused("run", "--rm", "-p", `${port}:7`, IMAGE, "true"),
      /port is already allocated\ncontainer talker has it$/,
    );
    if (!noIpv6)
      assert.match(
        daemon.refused("run", "--rm", "-p", `[::1]:${port}:7`, IMAGE, "true"),
        /already allocated/,
      );
    for (const talk of talks) await talk.end();
    gone("talker");
    ok("run", "--rm", "-p", `${port}:7`, IMAGE, "true");
  });

  test("ports of containers that ended meanwhile are let go", { skip: noIpv6 }, async () => {
    const port = await freePorts();
    ok("run", "-d", "--name", "brief", "-p", `${port}:7`, IMAGE, "sleep", "1000");
    const pid = Number(ok("inspect", "-f", "{{.State.Pid}}", "brief"));
    await daemon.kill();
    process.kill(pid, "SIGKILL");
    await eventually(() => assert.equal(existsSync(`/proc/${pid}`), false));
    await daemon.boot();
    await eventually(async () => assert.equal(await say("::1", port), "ECONNREFUSED"));
    ok("run", "--rm", "-p", `${port}:7`, IMAGE, "true");
    gone("brief");
  });

  test("a proxy that is killed is replaced", { skip: noIpv6 }, async () => {
    const port = await freePorts();
    echo("served", "-p", `${port}:7`);
    await answers("::1", port);
    const [pid] = proxies();
    assert.ok(pid);
    process.kill(pid, "SIGKILL");
    await answers("::1", port);
    await eventually(() => assert.equal(proxies().length, 1));
    gone("served");
  });
});

test("thousands of ports: held, given back, and more than can be are refused with nothing left", async () => {
  const count = 2000;
  const first = await freePorts(count);
  const fds = () => readdirSync(`/proc/${daemon.pid}/fd`).length;
  const range = `${first}-${first + count - 1}`;
  const earlier = fds();
  ok("run", "-d", "--name", "many", "-p", `${range}:${range}/udp`, IMAGE, "sleep", "1000");
  assert.ok(fds() >= earlier + count);
  assert.match(
    daemon.refused("run", "--name", "other", "-p", `${first + count - 1}:80/udp`, IMAGE, "true"),
    /port is already allocated\ncontainer many has it$/,
  );
  gone("many", "other");
  await eventually(() => assert.ok(fds() < earlier + 50));
  const limit = Number(
    /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/limits`, "utf8"))?.[1],
  );
  // Through the API: the command line takes seconds to put so many into words.
  const create = (ports: number) =>
    daemon.api("POST", "/containers/create?name=all", {
      Image: IMAGE,
      HostConfig: {
        PortBindings: Object.fromEntries(
          Array.from({ length: ports }, (_, n) => [
            `${(n % 65_535) + 1}/${n < 65_535 ? "tcp" : "udp"}`,
            [{ HostPort: String((n % 65_535) + 1) }],
          ]),
        ),
      },
    });
  const most = await create(70_000);
  assert.equal(most.status, 400);
  assert.match(most.body, /too many published ports: 70000, a container can have 32768/);
  // A socket for each address, and no more than three quarters of the daemon's descriptors.
  const over = Math.floor((limit * 3) / 4 / (noIpv6 ? 1 : 2)) + 1;
  if (over > 32_768) return;
  assert.equal((await create(over)).status, 201);
  const { status, body } = await daemon.api("POST", "/containers/all/start");
  assert.equal(status, 500);
  assert.match(
    body,
    new RegExp(`too many ports: ${over} take \\d+ sockets, and of \\d+ there are \\d+ left`),
  );
  gone("all");
  assert.ok(fds() < earlier + 50);
});

test("without the port proxy IPv6 addresses have no way to a container without IPv6, also not from before", async () => {
  const directory = mkdtempSync(join(tmpdir(), "berth-ports-"));
  const file = join(directory, "daemon.json");
  const choose = (proxy: boolean) => writeFileSync(file, JSON.stringify({ "userland-proxy": proxy }));
  choose(true);
  const plain = await TestDaemon.start({ subnet: 95, flags: ["--config-file", file] });
  try {
    plain.loadBusybox();
    const port = await freePorts(2);
    plain.ok("run", "-d", "--name", "before", "-p", `${port}:80`, IMAGE, "sleep", "1000");
    await plain.kill();
    choose(false);
    await plain.boot();
    const publish = ["-p", `${port + 1}:80`, "-p", "[::1]::81"];
    plain.ok("run", "-d", "--name", "plain", ...publish, IMAGE, "sleep", "1000");
    assert.equal(plain.ok("port", "plain"), `80/tcp -> 0.0.0.0:${port + 1}`);
    await eventually(() => assert.equal(existsSync(join(plain.execRoot, "proxy.sock")), false));
  } finally {
    await plain.stop();
    rmSync(directory, { recursive: true, force: true });
  }
});

describe("beside dockerd", () => {
  test("inspect and docker port show the same of every form", { skip: noIpv6 }, async () => {
    const port = await freePorts(2);
    const forms = [
      "P:80",
      "127.0.0.1:P:80",
      "[::1]:P:80",
      "0.0.0.0:P:80",
      "[::]:P:80",
      "P-Q:80-81",
      "P:53/udp",
      "80",
    ];
    await using dockerd = await Dockerd.start();
    for (const form of forms) {
      const text = form.replace("P", String(port)).replace("Q", String(port + 1));
      const shown = (docker: (...args: string[]) => string) => {
        docker("run", "-d", "--name", "shown", "-p", text, IMAGE, "sleep", "1000");
        const map = docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", "shown");
        const list = docker("port", "shown");
        docker("rm", "-f", "shown");
        return {
          map: JSON.parse(form === "80" ? numberless(map) : map),
          list: form === "80" ? numberless(list) : list,
        };
      };
      const theirs = shown((...args) => {
        const ran = dockerd.docker(args);
        assert.equal(ran.code, 0, `${args.join(" ")}: ${ran.output}`);
        return ran.output.trim();
      });
      assert.deepEqual(shown(ok), theirs, form);
    }
  });
});

function numberless(text: string): string {
  return text.replace(/(?<=:"?)\d{4,5}(?="|$)/gm, "random");
}

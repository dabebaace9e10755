/**
 * A container whose shim keeps the name server's sockets: questions asked while no daemon is there are answered by the
 * next one.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { changeLink } from "#kernel/netlink/link-messages.ts";
import type { ContainerNames } from "#networks/dns/container-names.ts";
import { resolverProgram } from "#networks/dns/resolver-program.ts";
import { TestNamespace } from "#networks/dns/testing/namespace.ts";
import { Containers, type Running } from "#runtime/container.test-tool.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const TOOL = join(import.meta.dirname, "testing/serve.ts");
const LOOPBACK_UP = { why: "bring lo up", bytes: changeLink(1, { up: true }), pidAt: [] };

const names: ContainerNames = {
  containerId: "c1",
  joined: [
    {
      networkId: "n1",
      networkName: "shop",
      names: ["web"],
      reverseName: "web.shop",
      v4: "10.1.2.3",
      v6: "",
      links: {},
    },
  ],
  upstream: [],
  isInternal: true,
  keepsShortNames: false,
};

let containers: Containers;
const daemons: ChildProcess[] = [];
before(() => {
  containers = new Containers();
});
after(async () => {
  for (const daemon of daemons) daemon.kill("SIGKILL");
  await containers[Symbol.asyncDispose]();
});

function start(redirects: boolean, script = "sleep 1000"): Promise<Running> {
  return containers.start({
    args: ["sh", "-c", script],
    spec: (spec) => {
      // Nothing of this takes rights inside.
      spec.process.capabilities = {};
    },
    launch: (launch) => {
      launch.sandbox = {
        host: [],
        container: [LOOPBACK_UP],
        sysctls: {},
        resolver: resolverProgram(redirects),
      };
    },
  });
}

async function serve(pid: number): Promise<ChildProcess> {
  const daemon = spawn(process.execPath, [TOOL, String(pid), JSON.stringify(names)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  daemons.push(daemon);
  await new Promise((resolve) => daemon.stdout.once("data", resolve));
  return daemon;
}

async function kill(daemon: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => daemon.once("exit", resolve));
  daemon.kill("SIGKILL");
  await ended;
}

for (const redirects of [true, false]) {
  describe(
    redirects ? "with rules that lead to the sockets" : "without rules, the sockets at port 53",
    () => {
      it("questions wait for the next daemon, over UDP and TCP", async () => {
        await using container = await start(redirects);
        using inside = new TestNamespace(container.pid);
        const early = inside.dig("web");
        let daemon = await serve(container.pid);
        assert.deepEqual(await early, ["10.1.2.3"], "asked before there was any daemon");
        for (let round = 0; round < 2; round++) {
          await kill(daemon);
          const waiting = Array.from({ length: 10 }, (_, index) =>
            inside.dig("web", index % 2 === 0 ? "+notcp" : "+tcp"),
          );
          await sleep(300);
          daemon = await serve(container.pid);
          for (const answer of await Promise.all(waiting)) assert.deepEqual(answer, ["10.1.2.3"]);
        }
        await kill(daemon);
      });

      it("a stream of questions goes on over the daemon's end", async () => {
        await using container = await start(redirects);
        using inside = new TestNamespace(container.pid);
        let daemon = await serve(container.pid);
        // One after the other. Only a question that a daemon has taken along may be asked again, one for each end.
        const script = `
        const socket = require("node:dgram").createSocket("udp4");
        let asked = 0, again = 0, timer;
        const ask = () => {
          clearTimeout(timer);
          timer = setTimeout(() => { again++; ask(); }, 15000);
          const head = Buffer.from([asked >> 8, asked & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
          socket.send(Buffer.concat([head, Buffer.from("\\x03web\\0\\0\\x01\\0\\x01", "latin1")]));
        };
        socket.on("message", (bytes) => {
          // Late, and answered twice.
          if (again > 0 && bytes.readUInt16BE(0) === asked - 1) return;
          if (bytes.readUInt16BE(0) !== asked || (bytes[3] & 15) !== 0) process.exit(3);
          if (++asked === 20000) { clearTimeout(timer); console.log(again <= 3 ? "all" : again); socket.close(); }
          else ask();
        });
        socket.connect(53, "127.0.0.11", ask);`;
        const stream = inside.run("timeout", "300", process.execPath, "-e", script);
        for (let round = 0; round < 3; round++) {
          await sleep(100);
          await kill(daemon);
          daemon = await serve(container.pid);
          assert.deepEqual(await inside.dig("web"), ["10.1.2.3"]);
        }
        assert.equal(await stream, "all\n");
        await kill(daemon);
      });
    },
  );
}

describe("a container with a name server", () => {
  it("sees nothing of it: no descriptor, no rights needed", async () => {
    await using container = await start(true, "ls /proc/self/fd | wc -l; exec sleep 1000");
    using inside = new TestNamespace(container.pid);
    const daemon = await serve(container.pid);
    assert.deepEqual(await inside.dig("web"), ["10.1.2.3"]);
    // 0, 1, 2, and the directory that is being read.
    await eventually(() => assert.equal(container.output().trim(), "4"));
    await kill(daemon);
  });

  it("fails to start where its first process cannot, and says why", async () => {
    await assert.rejects(
      containers.start({
        args: ["/no/such/program"],
        launch: (launch) => {
          launch.sandbox.resolver = resolverProgram(true);
        },
      }),
      /no such file or directory/i,
    );
  });
});

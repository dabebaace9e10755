/** The name server in a namespace of its own, asked by dig. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { ContainerNames } from "#networks/dns/container-names.ts";
import { DnsService } from "#networks/dns/dns-service.ts";
import { TestNamespace } from "#networks/dns/testing/namespace.ts";
import { startUpstream } from "#networks/dns/testing/upstream.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const TOOL = join(import.meta.dirname, "testing/upstream.ts");
/** A loopback address of the host's that nobody else uses. */
const ON_HOST = `127.53.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;

let space: TestNamespace;
let service: DnsService;
const asked: string[] = [];

function names(change: Partial<ContainerNames> = {}): ContainerNames {
  const joined = [
    {
      networkId: "n1",
      networkName: "shop",
      names: ["web", "www", "0123456789ab"],
      reverseName: "web.shop",
      v4: "10.1.2.3",
      v6: "fd00::3",
      links: {},
    },
  ];
  const upstream = ["127.0.0.1", "127.0.0.2"].map((address) => ({ address, fromHost: false }));
  return { containerId: "c1", joined, upstream, isInternal: false, keepsShortNames: false, ...change };
}

/** Another container on the same network. */
function other(id: string, ...called: string[]): ContainerNames {
  const [joined] = names().joined;
  assert.ok(joined);
  const v4 = `10.1.2.${10 + Number(id)}`;
  return names({
    containerId: id,
    joined: [{ ...joined, names: called, reverseName: `${called[0]}.shop`, v4, v6: "" }],
  });
}

before(async () => {
  space = await TestNamespace.make();
  await space.start(
    [process.execPath, TOOL, "127.0.0.1=192.0.2.1", "127.0.0.2=192.0.2.2", "127.0.0.3=silent"],
    (line) => asked.push(line),
  );
  service = new DnsService(() => undefined);
  service.setNames(names());
  service.serve("c1", space.pid);
  await eventually(async () => assert.deepEqual(await space.dig("web"), ["10.1.2.3"]));
});
after(async () => {
  await service.close();
  space[Symbol.dispose]();
});

describe("names of containers", () => {
  it("are answered by UDP and by TCP, in any case", async () => {
    for (const way of ["+notcp", "+tcp"]) {
      assert.deepEqual(await space.dig(way, "wEb"), ["10.1.2.3"]);
      assert.deepEqual(await space.dig(way, "web.shop."), ["10.1.2.3"]);
      assert.deepEqual(await space.dig(way, "0123456789ab"), ["10.1.2.3"]);
      assert.deepEqual(await space.dig(way, "web", "AAAA"), ["fd00::3"]);
      assert.deepEqual((await space.dig(way, "web", "ANY")).sort(), ["10.1.2.3", "fd00::3"]);
    }
  });

  it("lead back from addresses", async () => {
    assert.deepEqual(await space.dig("-x", "10.1.2.3"), ["web.shop."]);
    assert.deepEqual(await space.dig("-x", "fd00::3"), ["web.shop."]);
  });

  it("that have no address of a family, or no such record, are known all the same", async () => {
    service.setNames(other("1", "four"));
    for (const type of ["AAAA", "MX", "TXT"]) {
      assert.deepEqual(await space.dig("four", type), []);
      assert.deepEqual(await space.status("four", type), { status: "NOERROR", flags: "qr rd ra" });
    }
    service.forget("1");
  });

  it("come and go with their containers at once", async () => {
    service.setNames(other("1", "new"));
    assert.deepEqual(await space.dig("new"), ["10.1.2.11"]);
    service.setNames(other("1", "renamed"));
    assert.deepEqual(await space.dig("renamed"), ["10.1.2.11"]);
    assert.deepEqual(await space.dig("new"), ["192.0.2.1"], "unknown here, so asked elsewhere");
    service.forget("1");
    assert.deepEqual(await space.dig("renamed"), ["192.0.2.1"]);
  });

  it("shared by several take turns", async () => {
    for (const id of ["1", "2", "3"]) service.setNames(other(id, `one${id}`, "pool"));
    const firsts = new Set<string>();
    for (let round = 0; round < 6; round++) {
      const answer = await space.dig("pool");
      assert.deepEqual([...answer].sort(), ["10.1.2.11", "10.1.2.12", "10.1.2.13"]);
      firsts.add(answer[0] ?? "");
    }
    assert.equal(firsts.size, 3);
    for (const id of ["1", "2", "3"]) service.forget(id);
  });

  it("with more addresses than a datagram takes are answered in full by TCP", async () => {
    for (let id = 1; id <= 100; id++) service.setNames(other(String(id), `one${id}`, "pool"));
    const { flags } = await space.status("+noedns", "+ignore", "pool");
    assert.equal(flags, "qr tc rd ra");
    assert.equal((await space.dig("+noedns", "pool")).length, 100);
    assert.equal((await space.dig("+bufsize=4096", "+ignore", "pool")).length, 100);
    for (let id = 1; id <= 100; id++) service.forget(String(id));
  });

  it("asked in a burst by several clients reach each with its own answers", async () => {
    const script = `
      const dgram = require("node:dgram");
      const COUNT = 150;
      const client = (offset) => new Promise((resolve, reject) => {
        const socket = dgram.createSocket("udp4");
        const waiting = new Set();
        socket.on("message", (bytes) => {
          const id = bytes.readUInt16BE(0);
          const v6 = id % 3 === 0;
          // The address is what the message ends with, and the message as long as its records say.
          const end = v6 ? "fd000000000000000000000000000003" : "0a010203";
          const length = 21 + 12 + (v6 ? 16 : 4);
          if (!waiting.delete(id)) reject(new Error("an answer too much: " + id));
          if (bytes.length !== length || !bytes.toString("hex").endsWith(end)) reject(new Error(bytes.toString("hex")));
          if (waiting.size === 0) { socket.close(); resolve(); }
        });
        socket.connect(53, "127.0.0.11", () => {
          for (let id = offset; id < offset + COUNT; id++) {
            waiting.add(id);
            const type = id % 3 === 0 ? 28 : 1;
            const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            socket.send(Buffer.concat([head, Buffer.from("\\x03web\\0\\0" + String.fromCharCode(type) + "\\0\\x01", "latin1")]));
          }
        });
      });
      Promise.all([1000, 2000, 3000].map(client)).then(() => console.log("all"), (error) => console.log(error.message));`;
    for (let round = 0; round < 3; round++) {
      assert.equal(await space.run("timeout", "120", process.execPath, "-e", script), "all\n");
    }
  });
});

describe("other questions", () => {
  it("go to the container's servers, from its own namespace", async () => {
    asked.length = 0;
    assert.deepEqual(await space.dig("example.org"), ["192.0.2.1"]);
    assert.deepEqual(await space.dig("+tcp", "example.net"), ["192.0.2.1"]);
    assert.deepEqual(asked, ["127.0.0.1 example.org", "127.0.0.1 example.net"]);
  });

  it("keep what the answer says: no such name, EDNS or none", async () => {
    assert.equal((await space.status("lost.example")).status, "NXDOMAIN");
    assert.deepEqual(await space.dig("edns.example"), ["192.0.2.1"]);
    assert.deepEqual(await space.dig("+noedns", "edns.example"), ["192.0.2.0"]);
  });

  it("whose answer is cut short are asked again by TCP", async () => {
    assert.equal((await space.status("+noedns", "+ignore", "big.example")).flags, "qr tc rd ra");
    assert.equal((await space.dig("+noedns", "big.example")).length, 100);
  });

  it("go to the next server where one fails, refuses or is silent", async () => {
    const from = (address: string) => ({ address, fromHost: false });
    asked.length = 0;
    assert.equal((await space.status("fail.example")).status, "SERVFAIL");
    assert.deepEqual(asked, ["127.0.0.1 fail.example", "127.0.0.2 fail.example"]);
    // Nobody listens at .9; .3 takes questions and says nothing; and what is no address is no server.
    service.setNames(names({ upstream: [from("dns.example"), from("fe80::1%none"), from("127.0.0.9")] }));
    assert.equal((await space.status("example.org")).status, "SERVFAIL");
    service.setNames(names({ upstream: [from("127.0.0.9"), from("127.0.0.3"), from("127.0.0.2")] }));
    assert.deepEqual(await space.dig("example.org"), ["192.0.2.2"]);
    assert.deepEqual(await space.dig("+tcp", "example.org"), ["192.0.2.2"]);
    service.setNames(names({ upstream: [from("127.0.0.9")] }));
    assert.equal((await space.status("example.org")).status, "SERVFAIL");
    service.setNames(names({ upstream: [] }));
    assert.equal((await space.status("example.org")).status, "SERVFAIL");
    service.setNames(names());
  });

  it("take no answer but the one to what was asked", async () => {
    assert.deepEqual(await space.dig("forged.example"), ["192.0.2.1"]);
  });

  it("go to the host's loopback from the host", async () => {
    await using _ = await startUpstream(ON_HOST, "192.0.2.99");
    service.setNames(names({ upstream: [{ address: ON_HOST, fromHost: true }] }));
    assert.deepEqual(await space.dig("example.org"), ["192.0.2.99"]);
    assert.deepEqual(await space.dig("+tcp", "example.org"), ["192.0.2.99"]);
    service.setNames(names());
  });

  it("find no such name on internal networks, nor short ones where they are to be kept", async () => {
    asked.length = 0;
    service.setNames(names({ isInternal: true }));
    assert.equal((await space.status("example.org")).status, "NXDOMAIN");
    assert.deepEqual(await space.dig("web"), ["10.1.2.3"]);
    service.setNames(names({ keepsShortNames: true }));
    assert.equal((await space.status("short")).status, "NXDOMAIN");
    assert.deepEqual(await space.dig("long.example"), ["192.0.2.1"]);
    assert.deepEqual(asked, ["127.0.0.1 long.example"]);
    service.setNames(names());
  });

  it("are limited in number: those too many fail at once, and the server goes on", async () => {
    // Each of the first waits in vain for a silent server.
    service.setNames(names({ upstream: [{ address: "127.0.0.3", fromHost: false }] }));
    const script = `
      const dgram = await import("node:dgram");
      const socket = dgram.createSocket("udp4");
      const question = (id) => {
        const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        return Buffer.concat([head, Buffer.from("\\x04many\\x07example\\0\\0\\x01\\0\\x01", "latin1")]);
      };
      const failed = new Promise((resolve) => socket.on("message", (bytes) => {
        // On a busy machine the first may have waited long enough before the last is asked.
        if (bytes.readUInt16BE(0) >= 1024) resolve(bytes);
      }));
      for (let id = 0; id < 1400; id++) {
        await new Promise((done) => socket.send(question(id), 53, "127.0.0.11", done));
      }
      const answer = await failed;
      console.log(answer[3] & 15);
      socket.close();`;
    assert.equal(await space.run(process.execPath, "--input-type=module", "-e", script), "2\n");
    assert.deepEqual(await space.dig("web"), ["10.1.2.3"]);
    service.setNames(names());
  });
});

describe("hostile messages", () => {
  it("leave the server as it was", async () => {
    // Sent from a process inside, since only that namespace has the server.
    const script = `
      const dgram = require("node:dgram"), net = require("node:net"), crypto = require("node:crypto");
      const socket = dgram.createSocket("udp4");
      (async () => {
        for (let i = 0; i < 3000; i++) {
          const bytes = crypto.randomBytes(i % 600);
          if (bytes.length > 3) bytes[2] &= 0x7f;
          await new Promise((done) => socket.send(bytes, 53, "127.0.0.11", done));
        }
        for (const bytes of [Buffer.from([0xff]), Buffer.from([0, 3, 1, 2, 3]), Buffer.from([0, 0]), crypto.randomBytes(70000)]) {
          await new Promise((done) => {
            const stream = net.connect(53, "127.0.0.11", () => stream.end(bytes));
            stream.on("error", done).on("close", done).resume();
          });
        }
        socket.close();
        console.log("done");
      })();`;
    assert.equal(await space.run(process.execPath, "-e", script), "done\n");
    assert.deepEqual(await space.dig("web"), ["10.1.2.3"]);
    assert.deepEqual(await space.dig("+tcp", "web"), ["10.1.2.3"]);
  });
});

describe("beside the server", () => {
  it("port 53 is the container's own, and its tables of iptables are empty", async () => {
    using own = await TestNamespace.make();
    service.setNames({ ...other("2", "own"), containerId: "c2" });
    service.serve("c2", own.pid);
    await eventually(async () => assert.deepEqual(await own.dig("web"), ["10.1.2.3"]));
    const table = await own.run("iptables", "-t", "nat", "-S");
    const chains = ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"];
    assert.equal(table.trim(), chains.map((chain) => `-P ${chain} ACCEPT`).join("\n"));
    // A server of the container's own, on every address it has.
    await own.start([process.execPath, TOOL, "0.0.0.0=192.0.2.53"]);
    assert.deepEqual(await own.dig("web"), ["10.1.2.3"]);
    assert.equal(await own.run("dig", "+short", "@127.0.0.1", "example.org"), "192.0.2.53\n");
    service.forget("c2");
  });
});

/** Against the real kernel, in a network namespace of its own (re-run under `unshare -n`). */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { after, before, test } from "node:test";
import {
  addAddress,
  addRoute,
  dumpAddresses,
  dumpRoutes,
  parseAddress,
  parseRoute,
  removeAddress,
  setNeighbour,
} from "#kernel/netlink/address-messages.ts";
import {
  changeLink,
  createBridge,
  createVeth,
  deleteLink,
  dumpLinks,
  type Link,
  parseLink,
  setBridgePort,
} from "#kernel/netlink/link-messages.ts";
import { NetlinkSocket } from "#kernel/netlink/netlink-socket.ts";
import { isErrno } from "#kernel/syscall-error.ts";

const isolated = process.env.BERTH_TEST_NETNS === "1";

if (!isolated) {
  test("netlink against the kernel", { skip: process.getuid?.() === 0 ? false : "needs root" }, () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    execFileSync("unshare", ["-n", process.execPath, "--test", import.meta.filename], {
      env: { ...env, BERTH_TEST_NETNS: "1" },
      encoding: "utf8",
    });
  });
} else {
  let netlink: NetlinkSocket;
  let peer: ChildProcess;

  before(() => {
    netlink = new NetlinkSocket();
    peer = spawn("unshare", ["-n", "sh", "-c", "echo ready; exec sleep 60"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    return new Promise((resolve) => peer.stdout?.once("data", resolve));
  });
  after(() => {
    netlink[Symbol.dispose]();
    peer.kill("SIGKILL");
  });

  const links = (): Link[] => netlink.dump(dumpLinks()).map((message) => parseLink(message.payload));
  const link = (name: string): Link => {
    const found = links().find((candidate) => candidate.name === name);
    assert.ok(found, `link ${name}`);
    return found;
  };
  const inPeer = (...command: string[]): string =>
    execFileSync("nsenter", ["-t", String(peer.pid), "-n", ...command], { encoding: "utf8" });

  test("a bridge with an address and a route", () => {
    netlink.request(createBridge({ name: "bt0", mac: Uint8Array.of(2, 0x42, 1, 2, 3, 4), mtu: 1400 }));
    const bridge = link("bt0");
    assert.deepEqual(
      { kind: bridge.kind, up: bridge.up, mtu: bridge.mtu, mac: bridge.mac },
      { kind: "bridge", up: false, mtu: 1400, mac: "02:42:01:02:03:04" },
    );
    netlink.request(changeLink(bridge.index, { up: true, alias: "test" }));
    assert.deepEqual([link("bt0").up, link("bt0").alias], [true, "test"]);
    const address = { link: bridge.index, address: Uint8Array.of(10, 99, 0, 1), prefixLength: 24 };
    netlink.request(addAddress(address));
    assert.equal(netlink.tryRequest(addAddress(address)), 17, "EEXIST the second time");
    const addresses = netlink.dump(dumpAddresses()).map((message) => parseAddress(message.payload));
    assert.ok(
      addresses.some(
        (found) => found.link === bridge.index && Buffer.from(found.address).join(".") === "10.99.0.1",
      ),
    );
    netlink.request(
      addRoute({
        link: bridge.index,
        destination: { address: Uint8Array.of(10, 98, 0, 0), prefixLength: 16 },
        gateway: Uint8Array.of(10, 99, 0, 9),
      }),
    );
    netlink.request(setNeighbour(bridge.index, Uint8Array.of(10, 99, 0, 9), Uint8Array.of(2, 0, 0, 0, 0, 9)));
    const routes = netlink.dump(dumpRoutes()).map((message) => parseRoute(message.payload));
    const route = routes.find((found) => found?.destination?.join(".") === "10.98.0.0");
    assert.equal(route?.gateway?.join("."), "10.99.0.9");
    assert.equal(route?.prefixLength, 16);
    netlink.request(removeAddress(address));
    assert.equal(netlink.tryRequest(removeAddress(address)), 99, "EADDRNOTAVAIL the second time");
  });

  test("a veth pair whose far end is born in another namespace, with its index and MAC", () => {
    const master = link("bt0").index;
    const veth = createVeth({
      name: "btv0",
      index: 70000,
      master,
      mtu: 1400,
      peer: { name: "eth0", index: 16, mac: Uint8Array.of(2, 0x42, 10, 99, 0, 2) },
      peerPid: peer.pid ?? 0,
    });
    netlink.request(veth.bytes);
    const near = link("btv0");
    assert.equal(near.index, 70000);
    assert.deepEqual([near.kind, near.up, near.master, near.mtu], ["veth", true, master, 1400]);
    const far = inPeer("ip", "-o", "link", "show", "eth0");
    assert.match(far, /^16: eth0@/);
    assert.match(far, /02:42:0a:63:00:02/);
    assert.match(far, /state DOWN/);
    netlink.request(setBridgePort("btv0", { hairpin: true, isolated: true }));
    const port = execFileSync("ip", ["-d", "link", "show", "btv0"], { encoding: "utf8" });
    assert.match(port, /hairpin on/);
    assert.match(port, /isolated on/);
  });

  test("deleting, also off the event loop; the kernel's refusal has its errno", async () => {
    const index = link("btv0").index;
    assert.equal(await netlink.requestSlowly(deleteLink(index)), 0);
    assert.ok(!links().some((found) => found.name === "btv0"));
    assert.throws(
      () => netlink.request(deleteLink(index), "delete btv0"),
      (error: unknown) => isErrno(error, "ENODEV") && String(error).includes("delete btv0"),
    );
    netlink.request(deleteLink(link("bt0").index));
  });

  test("dumps of more than one piece", () => {
    for (let n = 0; n < 100; n++) {
      netlink.request(createBridge({ name: `bt${n}`, mac: Uint8Array.of(2, 0, 0, 0, 1, n), mtu: 1500 }));
    }
    assert.equal(links().filter((found) => found.name.startsWith("bt")).length, 100);
  });
}

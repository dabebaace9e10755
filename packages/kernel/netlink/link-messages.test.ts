import assert from "node:assert/strict";
import { test } from "node:test";
import { addAddress, addRoute } from "#kernel/netlink/address-messages.ts";
import { createVeth, formatMac, isInterfaceName, parseMac } from "#kernel/netlink/link-messages.ts";
import { attributeText, parseAttributes, parseMessages } from "#kernel/netlink/message-codec.ts";

const none = Buffer.alloc(0);

test("a veth pair: near end up and enslaved, far end elsewhere and not up", () => {
  const mac = Uint8Array.of(2, 0x42, 10, 0, 0, 2);
  const veth = createVeth({
    name: "veth1",
    index: 99,
    master: 9,
    mtu: 1500,
    peer: { name: "eth0", index: 16, mac },
  });
  veth.bytes.writeUInt32LE(4711, veth.pidAt);
  const [message] = parseMessages(veth.bytes);
  assert.ok(message);
  assert.equal(message.payload.readInt32LE(4), 99, "near end's index");
  assert.equal(message.payload.readUInt32LE(8), 1, "near end up");
  const attributes = parseAttributes(message.payload, 16);
  assert.equal(attributes.get(10)?.readUInt32LE(0), 9, "master");
  const info = parseAttributes(attributes.get(18) ?? none);
  const peer = parseAttributes(info.get(2) ?? none).get(1) ?? none;
  assert.equal(peer.readInt32LE(4), 16, "forced index");
  assert.equal(peer.readUInt32LE(8), 0, "far end not up");
  const inner = parseAttributes(peer, 16);
  assert.equal(attributeText(inner.get(3) ?? none), "eth0");
  assert.equal(inner.get(19)?.readUInt32LE(0), 4711, "pid patched in at pidAt");
});

test("address and default route have the family of their bytes", () => {
  const address = parseMessages(
    addAddress({ link: 16, address: Uint8Array.of(10, 0, 0, 2), prefixLength: 16 }),
  );
  assert.equal(address[0]?.payload[0], 2);
  assert.equal(address[0]?.payload[1], 16);
  const route = parseMessages(addRoute({ link: 16, gateway: new Uint8Array(16).fill(1) }));
  assert.equal(route[0]?.payload[0], 10);
  assert.equal(route[0]?.payload[1], 0);
  assert.throws(() => addAddress({ link: 1, address: Uint8Array.of(1), prefixLength: 8 }), RangeError);
});

test("MAC addresses in both spellings", () => {
  assert.equal(formatMac(parseMac("02:42:AC-11") ?? none), "");
  assert.equal(formatMac(parseMac("02:42:AC:11:00:02") ?? none), "02:42:ac:11:00:02");
  assert.equal(formatMac(parseMac("02-42-ac-11-00-02") ?? none), "02:42:ac:11:00:02");
  assert.equal(parseMac("02:42:ac:11:00"), undefined);
});

test("interface names the kernel takes", () => {
  for (const name of ["berth0", "a", "br-0123456789ab"]) assert.ok(isInterfaceName(name), name);
  for (const name of ["", "sixteencharacter", "a b", "a/b", "a:b", ".", ".."]) {
    assert.ok(!isInterfaceName(name), name);
  }
});

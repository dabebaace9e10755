import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BerthError } from "#errors/errors.ts";
import { defaultPools, pickSubnet } from "#networks/ipam/address-pools.ts";
import {
  type Address,
  addressBytes,
  addressFromBytes,
  contains,
  containsPrefix,
  formatAddress,
  formatPrefix,
  lastOf,
  overlaps,
  type Prefix,
  parseAddress,
  parseCidr,
  prefixOf,
} from "#networks/ipam/prefix.ts";

function prefix(text: string): Prefix {
  const parsed = parseCidr(text);
  assert.ok(parsed, text);
  return parsed.prefix;
}

const anyAddress: fc.Arbitrary<Address> = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value): Address => ({ family: 4, value })),
  fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value): Address => ({ family: 6, value })),
  // Many zero groups, where the shortened form is at stake.
  fc.array(fc.constantFrom(0n, 0n, 1n, 0xffffn), { minLength: 8, maxLength: 8 }).map((parts): Address => {
    let value = 0n;
    for (const part of parts) value = (value << 16n) | part;
    return { family: 6, value };
  }),
);

test("addresses survive text and bytes", () => {
  fc.assert(
    fc.property(anyAddress, (address) => {
      assert.deepEqual(parseAddress(formatAddress(address)), address);
      assert.deepEqual(addressFromBytes(addressBytes(address)), address);
    }),
  );
});

test("IPv6 is written as the standard's shortest form", () => {
  const cases: Record<string, string> = {
    "0:0:0:0:0:0:0:0": "::",
    "::1": "::1",
    "fd00:0:0:0:1:0:0:0": "fd00::1:0:0:0",
    "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
    "2001:0db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
    "::ffff:192.0.2.1": "::ffff:c000:201",
    "1:0:0:0:0:0:0:0": "1::",
  };
  for (const [text, expected] of Object.entries(cases)) {
    const address = parseAddress(text);
    assert.ok(address, text);
    assert.equal(formatAddress(address), expected);
  }
});

test("what is no address is refused", () => {
  for (const text of ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "::1::", "fe80::1%eth0", "x"]) {
    assert.equal(parseAddress(text), undefined, text);
  }
  for (const text of ["1.2.3.4", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1", "::/129", "/8", "1.2.3.4/8/8"]) {
    assert.equal(parseCidr(text), undefined, text);
  }
});

test("prefixes: first, last, containment and overlap", () => {
  assert.equal(formatPrefix(prefix("172.17.42.1/16")), "172.17.0.0/16");
  assert.equal(formatAddress({ family: 4, value: lastOf(prefix("172.17.42.1/16")) }), "172.17.255.255");
  assert.ok(overlaps(prefix("10.0.0.0/8"), prefix("10.255.0.0/16")));
  assert.ok(!overlaps(prefix("10.0.0.0/9"), prefix("10.128.0.0/9")));
  assert.ok(!overlaps(prefix("0.0.0.0/0"), prefix("::/0")));
  assert.ok(containsPrefix(prefix("10.0.0.0/8"), prefix("10.1.0.0/16")));
  assert.ok(!containsPrefix(prefix("10.1.0.0/16"), prefix("10.0.0.0/8")));
});

test("two prefixes overlap exactly if one contains the other's first address", () => {
  const anyPrefix = fc
    .tuple(fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), fc.integer({ min: 0, max: 32 }))
    .map(([value, length]) => prefixOf({ family: 4, value }, length));
  fc.assert(
    fc.property(anyPrefix, anyPrefix, (a, b) => {
      const expected =
        contains(a, { family: 4, value: b.first }) || contains(b, { family: 4, value: a.first });
      assert.equal(overlaps(a, b), expected);
      assert.equal(overlaps(b, a), expected);
    }),
  );
});

test("the first default pool nothing on the host overlaps", () => {
  assert.equal(formatPrefix(pickSubnet([], [])), "172.17.0.0/16");
  assert.equal(formatPrefix(pickSubnet([], [prefix("172.17.0.0/16")])), "172.18.0.0/16");
  assert.equal(formatPrefix(pickSubnet([], [prefix("172.16.0.0/12")])), "192.168.0.0/20");
  assert.equal(
    formatPrefix(pickSubnet([], [prefix("172.16.0.0/12"), prefix("192.168.3.7/32")])),
    "192.168.16.0/20",
  );
  assert.equal(defaultPools.length, 16);
});

test("own pools, used up pools, malformed pools", () => {
  const pools = [{ base: "10.10.0.0/23", size: 24 }];
  assert.equal(formatPrefix(pickSubnet(pools, [prefix("10.10.0.0/24")])), "10.10.1.0/24");
  assert.throws(
    () => pickSubnet(pools, [prefix("10.0.0.0/8")]),
    (error: unknown) =>
      error instanceof BerthError &&
      error.message === "all predefined address pools have been fully subnetted" &&
      error.hint !== undefined,
  );
  assert.throws(() => pickSubnet([{ base: "10.10.0.0/23", size: 16 }], []), BerthError);
  assert.throws(() => pickSubnet([{ base: "ten", size: 16 }], []), BerthError);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BerthError } from "#errors/errors.ts";
import { AddressLeases, type AddressRange } from "#networks/ipam/address-leases.ts";
import { formatAddress, parseAddress, parseCidr } from "#networks/ipam/prefix.ts";
import { networkMigrations } from "#networks/schema.ts";
import { Database } from "#state/database.ts";

function set(subnet: string, gateway: string, range = subnet) {
  const database = Database.open(":memory:", [networkMigrations]);
  database.run("INSERT INTO network VALUES ('n', 'net', 'bridge', '', '{}')");
  const parsed = parseCidr(subnet);
  const part = parseCidr(range);
  const address = parseAddress(gateway);
  assert.ok(parsed && part && address);
  const addresses: AddressRange = {
    networkId: "n",
    networkName: "net",
    subnet: parsed.prefix,
    range: part.prefix,
    gateway: address,
  };
  const leases = new AddressLeases(database);
  let holder = 0;
  return {
    database,
    leases,
    addresses,
    take: (name = `c${holder++}`) => formatAddress(leases.take(addresses, name)),
  };
}

const isFull = (error: unknown): boolean =>
  error instanceof BerthError &&
  /^no available IPv4 addresses on this network's address pools: net/.test(error.message);

test("addresses come in order, past gateway, network and broadcast, until all are out", () => {
  const { take, leases } = set("10.0.0.0/29", "10.0.0.3");
  assert.deepEqual([take("a"), take("b"), take("c")], ["10.0.0.1", "10.0.0.2", "10.0.0.4"]);
  assert.deepEqual([take(), take()], ["10.0.0.5", "10.0.0.6"]);
  assert.throws(() => take(), isFull);
  leases.release("b");
  leases.release("a");
  assert.equal(take(), "10.0.0.2", "released first, reused first");
  assert.equal(take(), "10.0.0.1");
  assert.throws(() => take(), isFull);
});

test("an address that cannot be taken back now is nobody's, and free a second later", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { take, leases, database } = set("10.0.0.0/30", "10.0.0.1");
  assert.equal(take("a"), "10.0.0.2");
  const full = t.mock.method(database, "run", () => {
    throw new Error("database or disk is full");
  });
  leases.release("a");
  full.mock.restore();
  assert.throws(() => take("b"), isFull);
  t.mock.timers.tick(1000);
  assert.equal(take("b"), "10.0.0.2");
});

test("a released address waits until the fresh ones are used up", () => {
  const { take, leases } = set("10.0.0.0/24", "10.0.0.1");
  assert.equal(take("a"), "10.0.0.2");
  leases.release("a");
  assert.equal(take(), "10.0.0.3");
});

test("only the fixed part is given out; asking for one outside it is fine", () => {
  const { take, leases, addresses } = set("10.0.0.0/24", "10.0.0.1", "10.0.0.64/30");
  assert.deepEqual([take(), take(), take(), take()], ["10.0.0.64", "10.0.0.65", "10.0.0.66", "10.0.0.67"]);
  assert.throws(() => take(), isFull);
  assert.equal(formatAddress(leases.take(addresses, "x", parseAddress("10.0.0.9"))), "10.0.0.9");
});

test("wanted addresses: taken, reserved, elsewhere; the gaps they leave are found", () => {
  const { take, leases, addresses } = set("10.0.0.0/29", "10.0.0.1");
  leases.take(addresses, "x", parseAddress("10.0.0.6"));
  for (const bad of ["10.0.0.6", "10.0.0.0", "10.0.0.1", "10.0.0.7"]) {
    assert.throws(() => leases.take(addresses, "y", parseAddress(bad)), {
      message: "Address already in use",
    });
  }
  assert.throws(() => leases.take(addresses, "y", parseAddress("10.0.1.2")), { code: "invalid" });
  assert.deepEqual([take(), take(), take(), take()], ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
  assert.throws(() => take(), isFull);
});

test("whatever the order of taking and releasing, nobody shares an address and none is lost", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 9 }), { maxLength: 80 }), (steps) => {
      const { leases, addresses } = set("10.0.0.0/29", "10.0.0.1");
      const held = new Map<string, string>();
      for (const step of steps) {
        const holder = `c${step}`;
        if (held.has(holder)) {
          leases.release(holder);
          held.delete(holder);
        } else if (held.size === 5) {
          assert.throws(() => leases.take(addresses, holder), isFull);
        } else {
          const address = formatAddress(leases.take(addresses, holder));
          assert.ok(![...held.values()].includes(address), `${address} is held`);
          held.set(holder, address);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test("IPv6 has no broadcast", () => {
  const { take } = set("fd00::/126", "fd00::1");
  assert.deepEqual([take(), take()], ["fd00::2", "fd00::3"]);
});

test("addresses of others on the wire are never given out, not even when asked for", () => {
  const { addresses, leases } = set("10.0.0.0/29", "10.0.0.1");
  const auxiliary = ["10.0.0.2", "10.0.0.4"].flatMap((text) => parseAddress(text) ?? []);
  const given = ["a", "b", "c"].map((holder) =>
    formatAddress(leases.take({ ...addresses, auxiliary }, holder)),
  );
  assert.deepEqual(given, ["10.0.0.3", "10.0.0.5", "10.0.0.6"]);
  assert.throws(() => leases.take({ ...addresses, auxiliary }, "d"), isFull);
  assert.throws(() => leases.take({ ...addresses, auxiliary }, "d", parseAddress("10.0.0.2")), {
    message: "Address already in use",
  });
});

test("both families of one network, whose digits begin alike, do not mix", () => {
  const { addresses, leases } = set("32.1.13.0/24", "32.1.13.1");
  const subnet = parseCidr("2001:db8::/64")?.prefix;
  const gateway = parseAddress("2001:db8::1");
  assert.ok(subnet && gateway);
  const six = { ...addresses, subnet, range: subnet, gateway };
  const pair = (holder: string) =>
    [leases.take(addresses, holder), leases.take(six, holder)].map(formatAddress);
  assert.deepEqual(pair("a"), ["32.1.13.2", "2001:db8::2"]);
  assert.deepEqual(pair("b"), ["32.1.13.3", "2001:db8::3"]);
  leases.release("a");
  const again = leases.take(six, "c", parseAddress("2001:db8::2"));
  assert.equal(formatAddress(again), "2001:db8::2", "one release gives back both");
});

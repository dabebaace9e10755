import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ContainerNames, JoinedNetwork } from "#networks/dns/container-names.ts";
import { NameTable } from "#networks/dns/name-table.ts";
import { TYPE } from "#networks/dns/query.ts";

function on(network: string, names: string[], v4: string, more: Partial<JoinedNetwork> = {}): JoinedNetwork {
  return {
    networkId: `id-${network}`,
    networkName: network,
    names,
    reverseName: `${names[0]}.${network}`,
    v4,
    v6: "",
    links: {},
    ...more,
  };
}

function container(containerId: string, ...joined: JoinedNetwork[]): ContainerNames {
  return { containerId, joined, upstream: [], isInternal: false, keepsShortNames: false };
}

function tableOf(...containers: ContainerNames[]): NameTable {
  const table = new NameTable();
  for (const each of containers) table.set(each);
  return table;
}

/** The IPv4 addresses of a name, sorted; undefined for an unknown one. */
function ask(table: NameTable, who: string, name: string, type: number = TYPE.A): string[] | undefined {
  return table
    .find(who, name)
    ?.ofType(type)
    .records.map(({ data }) => data.join("."))
    .sort();
}

test("a name is found on the asker's own networks only", () => {
  const table = tableOf(
    container("a", on("shop", ["web", "www"], "10.0.0.1")),
    container("b", on("shop", ["db"], "10.0.0.2"), on("back", ["db"], "10.1.0.2")),
    container("c", on("back", ["store"], "10.1.0.3")),
  );
  assert.deepEqual(ask(table, "b", "web"), ["10.0.0.1"]);
  assert.deepEqual(ask(table, "b", "store"), ["10.1.0.3"]);
  assert.equal(ask(table, "a", "store"), undefined);
  assert.equal(ask(table, "a", "store.back"), undefined);
  assert.equal(ask(table, "nobody", "web"), undefined);
  assert.deepEqual(ask(table, "a", "web"), ["10.0.0.1"], "its own name, too");
});

test("a name with its network's, where the same name has an address on two", () => {
  const table = tableOf(
    container("a", on("shop", ["web"], "10.0.0.1"), on("back.net", ["web"], "10.1.0.1")),
    container("b", on("shop", ["db"], "10.0.0.2"), on("back.net", ["db"], "10.1.0.2")),
  );
  assert.deepEqual(ask(table, "b", "web"), ["10.0.0.1"], "the first network's");
  assert.deepEqual(ask(table, "b", "web.shop"), ["10.0.0.1"]);
  assert.deepEqual(ask(table, "b", "web.back.net"), ["10.1.0.1"]);
  assert.equal(ask(table, "b", "web.other"), undefined);
});

test("an alias of several containers has all their addresses", () => {
  const table = tableOf(
    container("a", on("shop", ["one", "www"], "10.0.0.1")),
    container("b", on("shop", ["two", "www"], "10.0.0.2", { v6: "fd00::2" })),
  );
  assert.deepEqual(ask(table, "a", "www"), ["10.0.0.1", "10.0.0.2"]);
  assert.equal(ask(table, "a", "www", TYPE.AAAA)?.length, 1);
  assert.deepEqual(ask(table, "a", "one", TYPE.AAAA), [], "known, without an address of that family");
  assert.equal(ask(table, "a", "www", TYPE.ANY)?.length, 3);
  assert.deepEqual(ask(table, "a", "www", 15), []);
});

test("the addresses of an alias take turns", () => {
  const table = tableOf(
    container("a", on("shop", ["one", "www"], "10.0.0.1")),
    container("b", on("shop", ["two", "www"], "10.0.0.2")),
  );
  const entry = table.find("a", "www");
  assert.ok(entry);
  const first = () => entry.ofType(TYPE.A).next();
  const rounds = Array.from({ length: 4 }, () => {
    // As resolvers do: both families, one after the other.
    entry.ofType(TYPE.AAAA).next();
    return first();
  });
  assert.deepEqual(rounds, [1, 0, 1, 0]);
});

test("links are the asker's alone", () => {
  const table = tableOf(
    container("a", on("shop", ["web"], "10.0.0.1", { links: { DB: "Store" } })),
    container("b", on("shop", ["store"], "10.0.0.2")),
  );
  assert.deepEqual(ask(table, "a", "db"), ["10.0.0.2"]);
  assert.deepEqual(ask(table, "a", "db.shop"), ["10.0.0.2"]);
  assert.equal(ask(table, "b", "db"), undefined);
});

test("a container that goes, or leaves a network, takes its names along", () => {
  const table = tableOf(
    container("a", on("shop", ["web", "www"], "10.0.0.1")),
    container("b", on("shop", ["db", "www"], "10.0.0.2")),
  );
  table.set(container("b", on("back", ["db"], "10.1.0.2")));
  assert.equal(ask(table, "a", "db"), undefined);
  assert.deepEqual(ask(table, "a", "www"), ["10.0.0.1"]);
  table.delete("a");
  assert.equal(ask(table, "a", "web"), undefined);
  table.set(container("b", on("shop", ["db"], "10.0.0.2")));
  assert.equal(ask(table, "b", "web"), undefined);
});

test("addresses lead back to names, in whatever spelling they were told", () => {
  const table = tableOf(container("a", on("shop", ["web"], "10.0.0.1", { v6: "fd00:0::1" })));
  const name = (reverse: string, who = "a") => {
    const data = table.findReverse(who, reverse)?.data;
    return data === undefined ? undefined : Buffer.from(data).toString("latin1");
  };
  const nibbles = [..."fd000000000000000000000000000001"].reverse().join(".");
  assert.equal(name("1.0.0.10.in-addr.arpa"), "\x03web\x04shop\0");
  assert.equal(name(`${nibbles}.ip6.arpa`), "\x03web\x04shop\0");
  assert.equal(name("2.0.0.10.in-addr.arpa"), undefined);
  assert.equal(name("1.0.0.10.in-addr.arpa", "b"), undefined);
  table.delete("a");
  assert.equal(name("1.0.0.10.in-addr.arpa"), undefined);
});

test("after any changes the table says what a fresh one would", () => {
  const names = fc.uniqueArray(fc.constantFrom("web", "db", "www", "Store"), { minLength: 1 });
  const joined = fc.uniqueArray(
    fc.record({ network: fc.constantFrom("shop", "back"), names, last: fc.integer({ min: 1, max: 9 }) }),
    { selector: ({ network }) => network },
  );
  const ids = ["a", "b", "c"];
  const change = fc.record({ id: fc.constantFrom(...ids), joined: fc.option(joined) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
      const table = new NameTable();
      const told = new Map<string, ContainerNames>();
      for (const { id, joined: networks } of changes) {
        if (networks === null) {
          table.delete(id);
          told.delete(id);
          continue;
        }
        const names = container(
          id,
          ...networks.map((each) => on(each.network, each.names, `10.0.${ids.indexOf(id)}.${each.last}`)),
        );
        table.set(names);
        told.set(id, names);
      }
      const fresh = tableOf(...told.values());
      for (const who of ids) {
        for (const name of ["web", "db", "www", "store", "web.shop", "db.back", "other"]) {
          assert.deepEqual(ask(table, who, name), ask(fresh, who, name), `${who} asks for ${name}`);
        }
      }
    }),
  );
});

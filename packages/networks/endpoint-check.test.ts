import assert from "node:assert/strict";
import { test } from "node:test";
import { checkEndpointSettings } from "#networks/endpoint-check.ts";
import type { Network } from "#networks/network-table.ts";

const shop = { record: { name: "shop", driver: "bridge", config: {} } } as unknown as Network;

test("aliases are names that can be asked for", () => {
  const fine = ["web", "my_app", "_service", "a.b.c", "9", "bücher", "x".repeat(63)];
  checkEndpointSettings(shop, { Aliases: fine });
  for (const alias of ["", "two words", "a..b", ".a", "tab\t", "x".repeat(64), "a.".repeat(127)]) {
    assert.throws(() => checkEndpointSettings(shop, { Aliases: ["web", alias] }), {
      code: "invalid",
      message: `invalid endpoint settings:\ninvalid alias ${JSON.stringify(alias)}: a name consists of labels of 1 to 63 characters, without spaces, joined by dots`,
    });
  }
});

/** docs/api.md is what the handlers and the last observation of a daemon come to, and has no gap where none may be. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { documentedOperations } from "#api/operations.ts";
import { compareWithType, engineApi, fieldsOf, objectWith } from "./engine-api.ts";
import { completeGroups, makeTables, missingIn, type OperationTable, renderTables } from "./table.ts";

/** Known gaps in the groups that are to have none, as missingIn tells them; each line goes with its gap. */
const knownGaps: string[] = [];

describe("docs/api.md", () => {
  let tables: OperationTable[];
  before(async () => {
    tables = await makeTables();
  });

  it("is up to date (npm run api-table)", () => {
    const committed = readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8");
    assert.equal(committed, renderTables(tables));
  });

  it("tells of the operations that are routed, and of no others", () => {
    const routed = documentedOperations.map(({ id, method, path }) => `${id} ${method} ${path}`);
    const specified = Object.entries(engineApi.operations).map(
      ([id, { method, path }]) => `${id} ${method} ${path}`,
    );
    assert.deepEqual(routed.sort(), specified.sort());
  });

  it("has no gap but the known ones in containers, execs, volumes and system", () => {
    const gaps = missingIn(tables.filter(({ group }) => completeGroups.includes(group)));
    assert.deepEqual(gaps.sort(), [...knownGaps].sort());
  });
});

describe("comparing an answer with its type", () => {
  const compare = (type: string, value: unknown) => {
    const seen = new Set<string>();
    const beyond = new Set<string>();
    const departures = compareWithType(type, value, seen, beyond);
    return { seen: [...seen], beyond: [...beyond], departures: departures.map(({ path }) => path) };
  };

  it("sees fields through lists and maps, null ones too, and what is of another type or nowhere", () => {
    const value = {
      Ports: { "80/tcp": [{ HostIp: "", HostPort: 80 }], "81/tcp": null },
      SandboxID: null,
      Extra: 1,
    };
    assert.deepEqual(compare("NetworkSettings", value), {
      seen: ["Ports", "Ports{}[].HostIp", "Ports{}[].HostPort", "SandboxID"],
      beyond: ["Extra"],
      departures: ["Ports{}[].HostPort"],
    });
    assert.deepEqual(compare("[PortSummary]", [{ PrivatePort: 1.5 }]).departures, ["PrivatePort"]);
    assert.deepEqual(compare("[PortSummary]", {}).departures, [""]);
  });

  it("names fields as fieldsOf does, and objectWith makes them", () => {
    for (const { path } of fieldsOf("HostConfig")) {
      const { seen, beyond } = compare("HostConfig", objectWith(path, null));
      assert.deepEqual({ last: seen.at(-1), beyond }, { last: path, beyond: [] });
    }
  });
});

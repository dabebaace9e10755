/**
 * Writes docs/api.md from the specification, the API's handlers and what a real daemon was seen to answer.
 *
 *   scripts/api-table.ts              with what was seen the last time
 *   scripts/api-table.ts --observe    first uses a daemon of its own in every way (needs root; half a minute)
 */
import { writeFileSync } from "node:fs";
import { observeDaemon } from "#test/api-table/observed-requests.ts";
import { makeTables, missingIn, observedPath, renderTables } from "#test/api-table/table.ts";

if (process.argv.includes("--observe")) {
  const observer = await observeDaemon(90);
  for (const { operation, departure } of observer.observed.departures) {
    console.error(`${operation}: ${departure.path} ${departure.what}`);
    process.exitCode = 1;
  }
  writeFileSync(observedPath, `${JSON.stringify(observer.file(), null, 2)}\n`);
}
const tables = await makeTables();
writeFileSync(new URL("../docs/api.md", import.meta.url), renderTables(tables));
console.log(missingIn(tables).join("\n"));

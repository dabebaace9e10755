/** `npm run fuzz [-- --requests N] [--seed N] [--workers N] [--rest SECONDS]`: the API asked wrongly, in namespaces of its own. */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { inOwnPlace } from "../place.ts";
import { fuzzRun } from "./run.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "100000" },
    seed: { type: "string", default: String(randomInt(2 ** 31)) },
    workers: { type: "string", default: "8" },
    rest: { type: "string", default: "15" },
  },
});

await inOwnPlace(import.meta.filename, values, async () => {
  const report = await fuzzRun({
    requests: Number(values.requests),
    seed: Number(values.seed),
    workers: Number(values.workers),
    rest: Number(values.rest) * 1000,
    say: (line) => console.error(line),
  });
  console.log(report.text);
  return report.findings.length === 0;
});

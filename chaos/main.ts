/**
 * `npm run chaos [-- --minutes N] [--rounds N] [--seed N] [--workers N] [--fault NAME]... [--trace FILE]`: clients at work
 * on a daemon that is being mistreated.
 *
 * Clients run, stop, exec, commit, pull and remove all the time. Round by round one fault happens: the daemon is killed,
 * frozen or out of memory, its disk is full, its system calls fail, the registry's connections are cut, rules are
 * flushed, links deleted. Then the clients pause, the daemon is started again if it is gone, and what must be true is
 * looked at. The seed decides what is asked and which fault comes when; what meets what is up to the moment.
 *
 * All of it happens in network and mount namespaces of its own: nothing of the machine's is flushed or filled.
 */
import { randomInt } from "node:crypto";
import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { inOwnPlace } from "./place.ts";
import { chaosRun } from "./run.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "20" },
    seed: { type: "string", default: String(randomInt(2 ** 31)) },
    workers: { type: "string", default: "4" },
    rounds: { type: "string", default: "" },
    trace: { type: "string", default: "" },
    fault: { type: "string", multiple: true, default: [] },
  },
});

await inOwnPlace(import.meta.filename, values, async () => {
  const report = await chaosRun({
    milliseconds: Number(values.minutes) * 60_000,
    rounds: values.rounds === "" ? Infinity : Number(values.rounds),
    seed: Number(values.seed),
    workers: Number(values.workers),
    faults: values.fault,
    say: (line) => console.error(line),
    trace: values.trace === "" ? () => {} : (line) => appendFileSync(values.trace, `${line.trimEnd()}\n`),
  });
  console.log(report.text);
  return report.violations.length === 0;
});

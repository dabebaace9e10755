import { BerthError } from "#errors/errors.ts";
import { isAlive } from "#oci/container-status.ts";
import { followEvents, statsEvent } from "#oci/events.ts";
import { takeWords, usage } from "../arguments.ts";
import type { Command } from "../command.ts";

export const events: Command = {
  usage: "events ID",
  summary: "print what a container uses and when it runs out of memory, a line of JSON each",
  options: { interval: "value", stats: "flag" },
  async run({ states }, args) {
    const [id = ""] = takeWords("events", args.rest, "container id");
    const interval = milliseconds(args.value("interval") ?? "5s");
    const container = states.load(id);
    if (!isAlive(container)) {
      throw new BerthError("conflict", `container with id ${id} is not running`, {
        operation: "events",
        object: id,
      });
    }
    const tell = (line: string) => void process.stdout.write(`${line}\n`);
    if (args.flag("stats")) tell(statsEvent(container));
    else await followEvents(container, interval, tell);
    return 0;
  },
};

/** "5s", "100ms", "1m30s", as Go writes durations. */
function milliseconds(text: string): number {
  const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 0.001, ns: 0.000001 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)/g)];
  const total = parts.reduce((sum, [, number, unit = ""]) => sum + Number(number) * (units[unit] ?? 0), 0);
  if (parts.map(([whole]) => whole).join("") !== text)
    throw usage(`invalid duration ${JSON.stringify(text)} for flag -interval`);
  if (total <= 0) throw usage("duration interval must be greater than 0");
  return total;
}

/** `berth events` */
import type { EventMessage } from "#api-types/system.ts";
import type { Command } from "#cli/command.ts";
import { encodeFilters, filterFlag } from "#cli/output/filters.ts";
import { formatFlag } from "#cli/output/inspect.ts";
import { zonedTime } from "#cli/output/text.ts";
import { parseTime } from "#cli/times.ts";
import { textLines } from "#client/json-lines.ts";
import { template } from "#go-template/template.ts";

const command: Command = {
  usage: "[OPTIONS]",
  flags: [
    filterFlag,
    formatFlag,
    { name: "since", type: "string", help: "From this time on, the past included" },
    { name: "until", type: "string", help: "Until this time" },
  ],
  takes: [0, 0],
  async run(flags, context) {
    const format = flags.string("format");
    const now = Date.now();
    const client = await context.client();
    const stream = await client.request("GET", "/events", {
      query: {
        since: parseTime(flags.string("since"), now),
        until: parseTime(flags.string("until"), now),
        filters: encodeFilters(flags.list<[string, string]>("filter")),
      },
    });
    const compiled = format === "" || format === "json" ? undefined : template(format);
    for await (const text of textLines(stream)) {
      const shown = compiled ? compiled(JSON.parse(text)) : format === "json" ? text : line(text);
      context.stdout.write(`${shown}\n`);
    }
    return 0;
  },
};
export default command;

/** "2026-01-02T15:04:05.000000006Z container start 1234 (image=busybox, name=web)" */
function line(text: string): string {
  const event = JSON.parse(text) as EventMessage;
  // A number of this size loses its last digits in JSON.parse.
  const nanoseconds = (/"timeNano":\s*(\d+)/.exec(text)?.[1] ?? "").slice(-9);
  const attributes = Object.entries(event.Actor?.Attributes ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort();
  const tail = attributes.length > 0 ? ` (${attributes.join(", ")})` : "";
  const time = zonedTime(event.time * 1000, nanoseconds);
  return `${time} ${event.Type} ${event.Action} ${event.Actor?.ID ?? ""}${tail}`;
}

/** `berth search` */
import type { Command } from "#cli/command.ts";
import { registryHeader } from "#cli/credentials.ts";
import { parseInteger } from "#cli/flags.ts";
import { encodeFilters, filterFlag } from "#cli/output/filters.ts";
import { type ListFormat, renderList } from "#cli/output/table.ts";

interface Found {
  name: string;
  description: string;
  star_count: number;
  is_official: boolean;
  is_automated: boolean;
}

const format: ListFormat = {
  columns: "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
  headings: {
    Name: "NAME",
    Description: "DESCRIPTION",
    StarCount: "STARS",
    IsOfficial: "OFFICIAL",
    IsAutomated: "AUTOMATED",
  },
  quiet: "Name",
};
/** Characters of a description that a table has room for. */
const descriptionWidth = 45;

const command: Command = {
  usage: "[OPTIONS] TERM",
  flags: [
    filterFlag,
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "limit", type: "int", parse: parseInteger, help: "At most so many" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [term = ""] = flags.positional;
    const header = registryHeader(term, context.env);
    const client = await context.client();
    const found = await client.json<Found[]>("GET", "/images/search", {
      query: {
        term,
        limit: flags.value<number>("limit"),
        filters: encodeFilters(flags.list<[string, string]>("filter")),
      },
      ...(header === undefined ? {} : { headers: { "X-Registry-Auth": header } }),
    });
    const rows = found
      .toSorted((a, b) => b.star_count - a.star_count)
      .map((one) => ({
        Name: one.name,
        Description: shown(one.description, flags.bool("no-trunc")),
        StarCount: String(one.star_count),
        IsOfficial: one.is_official ? "[OK]" : "",
        IsAutomated: one.is_automated ? "[OK]" : "",
      }));
    context.stdout.write(renderList(rows, format, flags.string("format")));
    return 0;
  },
};
export default command;

function shown(description: string, whole: boolean): string {
  const line = description.replace(/[\r\n]/g, " ");
  return whole || line.length <= descriptionWidth ? line : `${line.slice(0, descriptionWidth - 1)}…`;
}

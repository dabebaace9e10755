/** `berth ps` */
import type { ContainerSummary } from "#api-types/container.ts";
import type { Command } from "#cli/command.ts";
import { parseInteger } from "#cli/flags.ts";
import { containerFormat, containerRow } from "#cli/output/container-row.ts";
import { encodeFilters, filterFlag } from "#cli/output/filters.ts";
import { renderList } from "#cli/output/table.ts";

const command: Command = {
  usage: "[OPTIONS]",
  flags: [
    { name: "all", short: "a", type: "bool", help: "Those that do not run as well" },
    filterFlag,
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "last", short: "n", type: "int", parse: parseInteger, help: "The last so many made" },
    { name: "latest", short: "l", type: "bool", help: "The last one made" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
    { name: "size", short: "s", type: "bool", help: "Sizes of files too" },
  ],
  takes: [0, 0],
  async run(flags, context) {
    const format = flags.string("format");
    const limit = flags.bool("latest") ? 1 : (flags.value<number>("last") ?? -1);
    const size = flags.bool("size") || /\.Size\b/.test(format);
    const client = await context.client();
    const containers = await client.json<ContainerSummary[]>("GET", "/containers/json", {
      query: {
        ...((flags.bool("all") || limit > 0) && { all: 1 }),
        ...(limit > 0 && { limit }),
        ...(size && { size: 1 }),
        filters: encodeFilters(flags.list<[string, string]>("filter")),
      },
    });
    const rows = containers.map((container) => containerRow(container, !flags.bool("no-trunc")));
    const columns = flags.bool("size") ? `${containerFormat.columns}\t{{.Size}}` : containerFormat.columns;
    context.stdout.write(
      renderList(rows, { ...containerFormat, columns }, format, { quiet: flags.bool("quiet") }),
    );
    return 0;
  },
};
export default command;

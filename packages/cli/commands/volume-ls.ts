/** `berth volume ls` */
import type { Volume } from "#api-types/system.ts";
import type { Command } from "#cli/command.ts";
import { encodeFilters, filterFlag } from "#cli/output/filters.ts";
import { renderList } from "#cli/output/table.ts";
import { volumeFormat, volumeRow } from "#cli/output/volume-row.ts";

interface Answer {
  Volumes: Volume[] | null;
  Warnings: string[] | null;
}

const command: Command = {
  usage: "[OPTIONS]",
  flags: [
    filterFlag,
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "quiet", short: "q", type: "bool", help: "Only names" },
  ],
  takes: [0, 0],
  async run(flags, context) {
    const client = await context.client();
    const filters = encodeFilters(flags.list<[string, string]>("filter"));
    const { Volumes, Warnings } = await client.json<Answer>("GET", "/volumes", { query: { filters } });
    // Of plugins that cannot say what they have.
    for (const warning of Warnings ?? []) context.stderr.write(`WARNING: ${warning}\n`);
    const rows = (Volumes ?? []).sort((a, b) => (a.Name < b.Name ? -1 : 1)).map(volumeRow);
    context.stdout.write(
      renderList(rows, volumeFormat, flags.string("format"), { quiet: flags.bool("quiet") }),
    );
    return 0;
  },
};
export default command;

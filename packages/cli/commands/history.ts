/** `berth history` */
import type { ImageHistoryItem } from "#api-types/image.ts";
import type { Command } from "#cli/command.ts";
import { historyFormat, historyRow } from "#cli/output/history-row.ts";
import { renderList } from "#cli/output/table.ts";

const command: Command = {
  usage: "[OPTIONS] IMAGE",
  flags: [
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "human", short: "H", type: "bool", help: "Sizes and times for people (default true)" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const client = await context.client();
    const items = await client.json<ImageHistoryItem[]>("GET", `/images/${name}/history`);
    const human = !flags.has("human") || flags.bool("human");
    const rows = items.map((item) => historyRow(item, { truncate: !flags.bool("no-trunc"), human }));
    const quiet = flags.bool("quiet");
    context.stdout.write(renderList(rows, historyFormat, flags.string("format"), { quiet }));
    return 0;
  },
};
export default command;

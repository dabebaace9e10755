/** `berth images` */
import type { ImageSummary } from "#api-types/image.ts";
import type { Command } from "#cli/command.ts";
import { encodeFilters, filterFlag } from "#cli/output/filters.ts";
import { imageFormat, imageRows } from "#cli/output/image-row.ts";
import { renderList } from "#cli/output/table.ts";

const command: Command = {
  usage: "[OPTIONS] [REPOSITORY[:TAG]]",
  flags: [
    { name: "all", short: "a", type: "bool", help: "Parents without a name as well" },
    { name: "digests", type: "bool", help: "Digests too" },
    filterFlag,
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
  ],
  takes: [0, 1],
  async run(flags, context) {
    const format = flags.string("format");
    const filters = flags.list<[string, string]>("filter");
    const [reference] = flags.positional;
    if (reference !== undefined) filters.push(["reference", reference]);
    const client = await context.client();
    const images = await client.json<ImageSummary[]>("GET", "/images/json", {
      query: { ...(flags.bool("all") && { all: 1 }), filters: encodeFilters(filters) },
    });
    const digests = flags.bool("digests");
    const rows = images.flatMap((image) =>
      imageRows(image, { digests: digests || /\.Digest\b/.test(format), truncate: !flags.bool("no-trunc") }),
    );
    const columns = imageFormat.columns.replace("{{.ID}}", digests ? "{{.Digest}}\t{{.ID}}" : "{{.ID}}");
    context.stdout.write(
      renderList(rows, { ...imageFormat, columns }, format, { quiet: flags.bool("quiet") }),
    );
    return 0;
  },
};
export default command;

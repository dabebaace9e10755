/** `berth volume ls` */
import type { Volume } from "#api-types/system.ts";
import type { Command } from "#cli/command.ts";
import { labels } from "#cli/output/container-row.ts";
import { encodeFilters, filterFlag } from "#cli/output/filters.ts";
import { type ListFormat, renderList } from "#cli/output/table.ts";
import { humanSize } from "#cli/sizes.ts";

const format: ListFormat = {
  columns: "{{.Driver}}\t{{.Name}}",
  headings: {
    Driver: "DRIVER",
    Name: "VOLUME NAME",
    Scope: "SCOPE",
    Mountpoint: "MOUNTPOINT",
    Labels: "LABELS",
    Links: "LINKS",
    Size: "SIZE",
    Status: "STATUS",
    Group: "GROUP",
    Availability: "AVAILABILITY",
  },
  quiet: "Name",
};

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
    const { Volumes } = await client.json<{ Volumes: Volume[] | null }>("GET", "/volumes", {
      query: { filters },
    });
    const rows = (Volumes ?? [])
      .sort((a, b) => (a.Name < b.Name ? -1 : 1))
      .map((volume) => ({
        Availability: "N/A",
        Driver: volume.Driver,
        Group: "N/A",
        Label: volume.Labels ?? {},
        Labels: labels(volume.Labels),
        Links: volume.UsageData ? String(volume.UsageData.RefCount) : "N/A",
        Mountpoint: volume.Mountpoint,
        Name: volume.Name,
        Scope: volume.Scope,
        Size: volume.UsageData ? humanSize(volume.UsageData.Size) : "N/A",
        Status: "N/A",
      }));
    context.stdout.write(renderList(rows, format, flags.string("format"), { quiet: flags.bool("quiet") }));
    return 0;
  },
};
export default command;

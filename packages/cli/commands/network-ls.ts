/** `berth network ls` */
import type { NetworkResource } from "#api-types/network.ts";
import type { Command } from "#cli/command.ts";
import { labels } from "#cli/output/container-row.ts";
import { encodeFilters, filterFlag } from "#cli/output/filters.ts";
import { type ListFormat, renderList } from "#cli/output/table.ts";
import { shortId } from "#cli/output/text.ts";

const format: ListFormat = {
  columns: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
  headings: {
    ID: "NETWORK ID",
    Name: "NAME",
    Driver: "DRIVER",
    Scope: "SCOPE",
    IPv4: "IPV4",
    IPv6: "IPV6",
    Internal: "INTERNAL",
    Labels: "LABELS",
    CreatedAt: "CREATED AT",
  },
  quiet: "ID",
};

const command: Command = {
  usage: "[OPTIONS]",
  flags: [
    filterFlag,
    { name: "format", type: "string", help: "'table', 'table TEMPLATE', 'json' or a Go template" },
    { name: "no-trunc", type: "bool", help: "Do not shorten" },
    { name: "quiet", short: "q", type: "bool", help: "Only ids" },
  ],
  takes: [0, 0],
  async run(flags, context) {
    const client = await context.client();
    const filters = encodeFilters(flags.list<[string, string]>("filter"));
    const networks = await client.json<NetworkResource[]>("GET", "/networks", { query: { filters } });
    const rows = networks
      .sort((a, b) => (a.Name < b.Name ? -1 : 1))
      .map((network) => ({
        CreatedAt: `${network.Created.replace("T", " ").replace("Z", "")} +0000 UTC`,
        Driver: network.Driver,
        ID: flags.bool("no-trunc") ? network.Id : shortId(network.Id),
        IPv4: String(network.EnableIPv4 ?? true),
        IPv6: String(network.EnableIPv6),
        Internal: String(network.Internal),
        Label: network.Labels ?? {},
        Labels: labels(network.Labels),
        Name: network.Name,
        Scope: network.Scope,
      }));
    context.stdout.write(renderList(rows, format, flags.string("format"), { quiet: flags.bool("quiet") }));
    return 0;
  },
};
export default command;

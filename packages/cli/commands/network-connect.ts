/** `berth network connect` */
import type { NetworkConnectRequest } from "#api-types/network.ts";
import type { Command } from "#cli/command.ts";
import { parseInteger } from "#cli/flags.ts";
import { checkIp, checkLink, keyValues } from "#cli/run/simple-values.ts";

const command: Command = {
  usage: "[OPTIONS] NETWORK CONTAINER",
  flags: [
    { name: "alias", type: "strings", many: true, help: "Name on the network" },
    { name: "driver-opt", type: "strings", many: true, help: "Option of the driver" },
    { name: "gw-priority", type: "int", parse: parseInteger, help: "The highest gives the default route" },
    { name: "ip", type: "ip", parse: checkIp, help: "IPv4 address" },
    { name: "ip6", type: "ip", parse: checkIp, help: "IPv6 address" },
    { name: "link", type: "list", many: true, parse: checkLink, help: "Container to call by a name" },
    { name: "link-local-ip", type: "strings", many: true, help: "Address on the link only" },
  ],
  takes: [2, 2],
  async run(flags, context) {
    const [network = "", container = ""] = flags.positional;
    const addresses = {
      ...(flags.has("ip") && { IPv4Address: flags.string("ip") }),
      ...(flags.has("ip6") && { IPv6Address: flags.string("ip6") }),
      ...(flags.has("link-local-ip") && { LinkLocalIPs: flags.list("link-local-ip") }),
    };
    const body: NetworkConnectRequest = {
      Container: container,
      EndpointConfig: {
        IPAMConfig: addresses,
        Links: flags.list("link"),
        Aliases: flags.list("alias"),
        DriverOpts: keyValues(flags.list("driver-opt")),
        GwPriority: flags.value<number>("gw-priority") ?? 0,
      },
    };
    const client = await context.client();
    await client.text("POST", `/networks/${encodeURIComponent(network)}/connect`, { body });
    return 0;
  },
};
export default command;

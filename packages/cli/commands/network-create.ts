/** `berth network create` */
import type { NetworkCreateRequest } from "#api-types/network.ts";
import type { Command } from "#cli/command.ts";
import { ipamConfig } from "#cli/run/ipam-flags.ts";
import { checkLabel, keyValues } from "#cli/run/simple-values.ts";

const command: Command = {
  usage: "[OPTIONS] NETWORK",
  flags: [
    { name: "attachable", type: "bool", help: "Containers may join by hand" },
    { name: "aux-address", type: "map", many: true, help: "Address that is another's, name=address" },
    { name: "config-from", type: "string", help: "Network to take the configuration from" },
    { name: "config-only", type: "bool", help: "A configuration for other networks, and nothing else" },
    { name: "driver", short: "d", type: "string", help: "bridge, macvlan, ipvlan or a plugin" },
    { name: "gateway", type: "strings", many: true, help: "Gateway of a subnet" },
    { name: "ingress", type: "bool", help: "For the routing mesh of a swarm" },
    { name: "internal", type: "bool", help: "No way in or out" },
    { name: "ip-range", type: "strings", many: true, help: "Part of a subnet that addresses come from" },
    { name: "ipam-driver", type: "string", help: "Driver of addresses" },
    { name: "ipam-opt", type: "map", many: true, help: "Option of the driver of addresses" },
    { name: "ipv4", type: "bool", help: "IPv4 addresses (--ipv4=false for none)" },
    { name: "ipv6", type: "bool", help: "IPv6 addresses" },
    { name: "label", type: "list", many: true, parse: checkLabel, help: "Label, name=value" },
    { name: "opt", short: "o", type: "map", many: true, help: "Option of the driver" },
    { name: "scope", type: "string", help: "Scope" },
    { name: "subnet", type: "strings", many: true, help: "Subnet, 10.1.0.0/16" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const from = flags.string("config-from");
    const body: NetworkCreateRequest = {
      Name: name,
      Driver: flags.string("driver") || "bridge",
      Options: keyValues(flags.list("opt")),
      IPAM: {
        Driver: flags.string("ipam-driver") || "default",
        Options: keyValues(flags.list("ipam-opt")),
        Config: ipamConfig(flags),
      },
      Internal: flags.bool("internal"),
      Attachable: flags.bool("attachable"),
      Ingress: flags.bool("ingress"),
      Scope: flags.string("scope"),
      ConfigOnly: flags.bool("config-only"),
      Labels: keyValues(flags.list("label")),
      // What is not said is for the network's configuration, or the daemon, to say.
      ...(flags.has("ipv4") && { EnableIPv4: flags.bool("ipv4") }),
      ...(flags.has("ipv6") && { EnableIPv6: flags.bool("ipv6") }),
      ...(from !== "" && { ConfigFrom: { Network: from } }),
    };
    const client = await context.client();
    const { Id, Warning } = await client.json<{ Id: string; Warning: string }>("POST", "/networks/create", {
      body,
    });
    if (Warning) context.stderr.write(`WARNING: ${Warning}\n`);
    context.stdout.write(`${Id}\n`);
    return 0;
  },
};
export default command;

/** `berth network disconnect` */
import type { NetworkDisconnectRequest } from "#api-types/network.ts";
import type { Command } from "#cli/command.ts";

const command: Command = {
  usage: "[OPTIONS] NETWORK CONTAINER",
  flags: [{ name: "force", short: "f", type: "bool", help: "Also what a container has left behind" }],
  takes: [2, 2],
  async run(flags, context) {
    const [network = "", container = ""] = flags.positional;
    const body: NetworkDisconnectRequest = { Container: container, Force: flags.bool("force") };
    const client = await context.client();
    await client.text("POST", `/networks/${encodeURIComponent(network)}/disconnect`, { body });
    return 0;
  },
};
export default command;

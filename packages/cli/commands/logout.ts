/** `berth logout` */
import type { Command } from "#cli/command.ts";
import { eraseCredentials, registryKey } from "#cli/credentials.ts";

const command: Command = {
  usage: "[SERVER]",
  flags: [],
  takes: [0, 1],
  async run(flags, context) {
    const registry = registryKey(flags.positional[0] ?? "");
    context.stdout.write(`Removing login credentials for ${registry}\n`);
    eraseCredentials(registry, context.env);
    return 0;
  },
};
export default command;

/** `berth stop` */
import type { Command } from "#cli/command.ts";
import { stopEach, stopFlags } from "#cli/commands/stop-options.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: [...stopFlags],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    return await stopEach("stop", flags, context);
  },
};
export default command;

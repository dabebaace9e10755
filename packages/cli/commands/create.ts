/** `berth create` */
import type { Command } from "#cli/command.ts";
import { createFlags } from "#cli/run/create-flags.ts";
import { makeContainer, readRequest } from "#cli/run/make-container.ts";

const command: Command = {
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  flags: createFlags,
  takes: [1, Number.POSITIVE_INFINITY],
  stopsAtArgument: true,
  async run(flags, context) {
    const id = await makeContainer("create", readRequest("create", flags, context), context);
    context.stdout.write(`${id}\n`);
    return 0;
  },
};
export default command;

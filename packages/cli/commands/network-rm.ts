/** `berth network rm` */

import { type Command, forEach } from "#cli/command.ts";
import { DaemonError } from "#client/client.ts";

const command: Command = {
  usage: "NETWORK [NETWORK...]",
  flags: [{ name: "force", short: "f", type: "bool", help: "Not to exist is no failure" }],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    return await forEach(flags.positional, context, async (name) => {
      try {
        await client.text("DELETE", `/networks/${encodeURIComponent(name)}`);
      } catch (error) {
        if (!(flags.bool("force") && error instanceof DaemonError && error.status === 404)) throw error;
      }
      return name;
    });
  },
};
export default command;

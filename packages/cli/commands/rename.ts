/** `berth rename` */
import { type Command, ExitError, messageOf } from "#cli/command.ts";
import { DaemonError } from "#client/client.ts";

const command: Command = {
  usage: "CONTAINER NEW_NAME",
  flags: [],
  takes: [2, 2],
  async run(flags, context) {
    const [name = "", newName = ""] = flags.positional;
    const client = await context.client();
    try {
      await client.text("POST", `/containers/${encodeURIComponent(name)}/rename`, {
        query: { name: newName },
      });
    } catch (error) {
      if (!(error instanceof DaemonError)) throw error;
      throw new ExitError(1, `${messageOf(error)}\nError: failed to rename container named ${name}`);
    }
    return 0;
  },
};
export default command;

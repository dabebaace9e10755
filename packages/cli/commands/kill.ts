/** `berth kill` */
import { type Command, forEach } from "#cli/command.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: [{ name: "signal", short: "s", type: "string", help: "Signal to send" }],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    return await forEach(flags.positional, context, async (name) => {
      await client.text("POST", `/containers/${encodeURIComponent(name)}/kill`, {
        query: { signal: flags.string("signal") || "SIGKILL" },
      });
      return name;
    });
  },
};
export default command;

/** `berth rm` */
import { type Command, forEach } from "#cli/command.ts";
import { DaemonError } from "#client/client.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: [
    { name: "force", short: "f", type: "bool", help: "Kill it first if it runs" },
    { name: "link", short: "l", type: "bool", help: "Remove the link of that name" },
    { name: "volumes", short: "v", type: "bool", help: "Remove its anonymous volumes too" },
  ],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    const query = {
      ...(flags.bool("force") && { force: 1 }),
      ...(flags.bool("volumes") && { v: 1 }),
      ...(flags.bool("link") && { link: 1 }),
    };
    const gone: string[] = [];
    const code = await forEach(flags.positional, context, async (name) => {
      try {
        await client.text("DELETE", `/containers/${encodeURIComponent(name)}`, { query });
      } catch (error) {
        if (error instanceof DaemonError && error.status === 404) gone.push(name);
        throw error;
      }
      return name;
    });
    // What is forced to be gone and is gone already is told, but is as wanted.
    return flags.bool("force") && gone.length === flags.positional.length ? 0 : code;
  },
};
export default command;

/** `berth volume rm` */
import { type Command, forEach } from "#cli/command.ts";

const command: Command = {
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  flags: [{ name: "force", short: "f", type: "bool", help: "Not to exist is no failure" }],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    return await forEach(flags.positional, context, async (name) => {
      const query = flags.bool("force") ? { force: 1 } : {};
      await client.text("DELETE", `/volumes/${encodeURIComponent(name)}`, { query });
      return name;
    });
  },
};
export default command;

/** `berth rmi` */
import type { ImageDeleteItem } from "#api-types/image.ts";
import { type Command, forEach } from "#cli/command.ts";

const command: Command = {
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  flags: [
    {
      name: "force",
      short: "f",
      type: "bool",
      help: "Remove it even if several names or stopped containers use it",
    },
    { name: "no-prune", type: "bool", help: "Keep parents without a name" },
  ],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    const query = { ...(flags.bool("force") && { force: 1 }), ...(flags.bool("no-prune") && { noprune: 1 }) };
    return await forEach(flags.positional, context, async (name) => {
      const items = await client.json<ImageDeleteItem[]>("DELETE", `/images/${name}`, { query });
      return items
        .map((item) => (item.Deleted ? `Deleted: ${item.Deleted}` : `Untagged: ${item.Untagged}`))
        .join("\n");
    });
  },
};
export default command;

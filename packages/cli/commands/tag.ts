/** `berth tag` */
import type { Command } from "#cli/command.ts";
import { splitImageName } from "#cli/image-name.ts";

const command: Command = {
  usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
  flags: [],
  takes: [2, 2],
  async run(flags, context) {
    const [source = "", target = ""] = flags.positional;
    const { repository, tag } = splitImageName(target);
    const client = await context.client();
    await client.text("POST", `/images/${source}/tag`, { query: { repo: repository, tag } });
    return 0;
  },
};
export default command;

/** `berth pull` */
import type { Command } from "#cli/command.ts";
import { fetchImage } from "#cli/image-fetch.ts";
import { fullName, withDefaultTag } from "#cli/image-name.ts";

const command: Command = {
  usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
  flags: [
    { name: "all-tags", short: "a", type: "bool", help: "Every tag of the repository", hidden: true },
    { name: "disable-content-trust", type: "bool", help: "Accepted for old scripts", hidden: true },
    { name: "platform", type: "string", help: "Platform of the image (linux/arm64)" },
    { name: "quiet", short: "q", type: "bool", help: "Only the name" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const quiet = flags.bool("quiet");
    if (flags.bool("all-tags")) throw new Error("pulling all tags at once is not supported");
    if (!quiet && withDefaultTag(name) !== name) context.stdout.write("Using default tag: latest\n");
    await fetchImage(name, flags.string("platform"), quiet ? undefined : context.stdout, context);
    context.stdout.write(`${fullName(name)}\n`);
    return 0;
  },
};
export default command;

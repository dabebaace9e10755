/** `berth pull` */
import type { Command } from "#cli/command.ts";
import { fetchImage } from "#cli/image-fetch.ts";
import { fullName, withDefaultTag } from "#cli/image-name.ts";

const command: Command = {
  usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
  flags: [
    { name: "all-tags", short: "a", type: "bool", help: "Every tag of the repository" },
    { name: "disable-content-trust", type: "bool", help: "Accepted for old scripts", hidden: true },
    { name: "platform", type: "string", help: "Platform of the image (linux/arm64)" },
    { name: "quiet", short: "q", type: "bool", help: "Only the name" },
  ],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const quiet = flags.bool("quiet");
    const allTags = flags.bool("all-tags");
    const bare = withDefaultTag(name) !== name;
    if (allTags && !bare) throw new Error("tag can't be used with --all-tags/-a");
    if (!quiet && !allTags && bare) context.stdout.write("Using default tag: latest\n");
    const output = quiet ? undefined : context.stdout;
    await fetchImage(name, flags.string("platform"), output, context, { allTags });
    context.stdout.write(`${allTags ? fullName(name).replace(/:latest$/, "") : fullName(name)}\n`);
    return 0;
  },
};
export default command;

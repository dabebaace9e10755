/** `berth cp` */
import type { Command } from "#cli/command.ts";
import { parseCopyArgument } from "#cli/cp/copy-paths.ts";
import { humanSize } from "#go-values/size.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH",
  flags: [
    { name: "archive", short: "a", type: "bool", help: "Give files to the container's user" },
    { name: "follow-link", short: "L", type: "bool", help: "Copy what a link leads to" },
    { name: "quiet", short: "q", type: "bool", help: "Say nothing" },
  ],
  takes: [2, 2],
  async run(flags, context) {
    const [first = "", second = ""] = flags.positional;
    if (first === "") throw new Error("source can not be empty");
    if (second === "") throw new Error("destination can not be empty");
    const source = parseCopyArgument(first);
    const target = parseCopyArgument(second);
    const followLink = flags.bool("follow-link");
    let bytes: number;
    if (source.container !== undefined && target.container !== undefined) {
      throw new Error("copying between containers is not supported");
    } else if (source.container !== undefined) {
      const { copyFromContainer } = await import("#cli/cp/from-container.ts");
      const from = { container: source.container, path: source.path };
      bytes = await copyFromContainer(context, from, target.path, { followLink });
    } else if (target.container !== undefined) {
      const { copyToContainer } = await import("#cli/cp/to-container.ts");
      const to = { container: target.container, path: target.path };
      const options = { followLink, copyOwner: flags.bool("archive") };
      bytes = await copyToContainer(context, source.path, to, options);
    } else throw new Error("must specify at least one container source");
    const quiet = flags.has("quiet") ? flags.bool("quiet") : !context.stdout.isTTY;
    if (!quiet && second !== "-") {
      context.stderr.write(`Successfully copied ${humanSize(bytes, 3)} to ${second}\n`);
    }
    return 0;
  },
};
export default command;

/** `berth commit` */
import type { Command } from "#cli/command.ts";
import { splitImageName } from "#cli/image-name.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
  flags: [
    { name: "author", short: "a", type: "string", help: "Who made it" },
    { name: "change", short: "c", type: "list", many: true, help: "Dockerfile instruction to apply" },
    { name: "message", short: "m", type: "string", help: "Comment of the image" },
    { name: "pause", short: "p", type: "bool", help: "Freeze the container meanwhile (default true)" },
  ],
  takes: [1, 2],
  async run(flags, context) {
    const [container = "", name = ""] = flags.positional;
    const { repository, tag } = splitImageName(name);
    const client = await context.client();
    const { Id } = await client.json<{ Id: string }>("POST", "/commit", {
      query: {
        container,
        repo: repository,
        tag: repository === "" ? "" : tag || "latest",
        comment: flags.string("message"),
        author: flags.string("author"),
        changes: flags.list("change"),
        ...(flags.has("pause") && !flags.bool("pause") && { pause: 0 }),
      },
    });
    context.stdout.write(`${Id}\n`);
    return 0;
  },
};
export default command;

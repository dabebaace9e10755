/** `berth start` */
import type { ContainerInspect } from "#api-types/container.ts";
import { type Command, ExitError, forEach, messageOf } from "#cli/command.ts";
import { attachTo } from "#cli/commands/attach.ts";

const command: Command = {
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  flags: [
    { name: "attach", short: "a", type: "bool", help: "Show its output and pass signals on" },
    { name: "checkpoint", type: "string", help: "Go on from this checkpoint (experimental)" },
    { name: "detach-keys", type: "string", help: "Keys that leave it running (ctrl-p,ctrl-q)" },
    { name: "interactive", short: "i", type: "bool", help: "Attach its stdin" },
  ],
  takes: [1, Number.POSITIVE_INFINITY],
  async run(flags, context) {
    const client = await context.client();
    const query = flags.has("checkpoint") ? { checkpoint: flags.string("checkpoint") } : {};
    const path = (name: string) => `/containers/${encodeURIComponent(name)}`;
    if (flags.bool("attach") || flags.bool("interactive")) {
      const [name = "", ...more] = flags.positional;
      if (more.length > 0) throw new ExitError(1, "you cannot start and attach multiple containers at once");
      const { Id, Config } = await client.json<ContainerInspect>("GET", `${path(name)}/json`);
      return await attachTo(Id, context, {
        tty: Config.Tty === true,
        stdin: flags.bool("interactive") && Config.OpenStdin === true,
        detachKeys: flags.string("detach-keys"),
        proxy: true,
        start: async () => void (await client.text("POST", `${path(Id)}/start`, { query })),
      });
    }
    const failed: string[] = [];
    await forEach(flags.positional, context, async (name) => {
      try {
        await client.text("POST", `${path(name)}/start`, { query });
        return name;
      } catch (error) {
        failed.push(name);
        throw error;
      }
    });
    if (failed.length > 0)
      context.stderr.write(
        `${messageOf(new Error(`Error: failed to start containers: ${failed.join(", ")}`))}\n`,
      );
    return failed.length > 0 ? 1 : 0;
  },
};
export default command;

/** `berth volume create` */
import type { Volume } from "#api-types/system.ts";
import type { Command } from "#cli/command.ts";
import { checkLabel, keyValues } from "#cli/run/simple-values.ts";

const command: Command = {
  usage: "[OPTIONS] [VOLUME]",
  flags: [
    { name: "driver", short: "d", type: "string", help: "Volume driver" },
    { name: "label", type: "list", many: true, parse: checkLabel, help: "Label, name=value" },
    { name: "name", type: "string", help: "Name of the volume", hidden: true },
    { name: "opt", short: "o", type: "map", many: true, help: "Option of the driver" },
  ],
  takes: [0, 1],
  async run(flags, context) {
    const client = await context.client();
    const volume = await client.json<Volume>("POST", "/volumes/create", {
      body: {
        Driver: flags.string("driver") || "local",
        DriverOpts: keyValues(flags.list("opt")),
        Labels: keyValues(flags.list("label")),
        Name: flags.positional[0] ?? flags.string("name"),
      },
    });
    context.stdout.write(`${volume.Name}\n`);
    return 0;
  },
};
export default command;

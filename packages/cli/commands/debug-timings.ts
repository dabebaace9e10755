/** `berth debug timings`: where the time of a container's last create, start and end went. */
import type { Command } from "#cli/command.ts";
import { alignColumns } from "#cli/output/table.ts";

/** An answer of GET /berth/containers/{id}/timings. */
interface StageTime {
  operation: string;
  stage: string;
  milliseconds: number;
}

const command: Command = {
  usage: "CONTAINER",
  flags: [],
  takes: [1, 1],
  async run(flags, context) {
    const [name = ""] = flags.positional;
    const client = await context.client();
    const path = `/berth/containers/${encodeURIComponent(name)}/timings`;
    const times = await client.json<StageTime[]>("GET", path);
    const rows = times.map(
      ({ operation, stage, milliseconds }) => `${operation}\t${milliseconds.toFixed(2)}\t${stage}`,
    );
    context.stdout.write(`${alignColumns(["OPERATION\tMS\tSTAGE", ...rows])}\n`);
    return 0;
  },
};
export default command;

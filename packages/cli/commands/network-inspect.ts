/** `berth network inspect` */
import type { Command } from "#cli/command.ts";
import { inspectCommand } from "#cli/output/inspect.ts";

const inspect = inspectCommand(
  "[OPTIONS] NETWORK [NETWORK...]",
  (name) => `/networks/${encodeURIComponent(name)}`,
);

const command: Command = {
  ...inspect,
  // Docker tells more of a swarm's networks by it; what there is to tell here is always told.
  flags: [...inspect.flags, { name: "verbose", short: "v", type: "bool", help: "All there is of a swarm's" }],
};
export default command;

import { sendSignal, sendSignalToAll } from "#oci/kill.ts";
import { parseSignal } from "#runtime/signals.ts";
import { takeWords, usage } from "../arguments.ts";
import type { Command } from "../command.ts";

export const kill: Command = {
  usage: "kill ID [SIGNAL]",
  summary: "send a signal (by default SIGTERM) to the container's first process, or to all",
  options: { "all a": "flag" },
  async run({ states }, args) {
    const [id, signal = "SIGTERM", ...more] = args.rest;
    if (id === undefined) throw usage("kill: container id is missing");
    takeWords("kill", more);
    const container = states.load(id);
    const number = parseSignal(signal);
    if (args.flag("all")) await sendSignalToAll(container, number);
    else sendSignal(container, number);
    return 0;
  },
};

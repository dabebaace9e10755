import { BerthError } from "#errors/errors.ts";
import { readCgroupLayout } from "#kernel/cgroup-layout.ts";
import { statusOf } from "#oci/container-status.ts";
import { freeze, thaw } from "#runtime/cgroups/freezer.ts";
import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";

export const pause: Command = {
  usage: "pause ID",
  summary: "stop all processes of a container where they are",
  options: {},
  async run({ states }, args) {
    const [id = ""] = takeWords("pause", args.rest, "container id");
    const container = states.load(id);
    const status = statusOf(states, container);
    if (status !== "running" && status !== "created") throw refuse("container not running", id);
    await freeze(readCgroupLayout(), container.cgroupOwner);
    return 0;
  },
};

export const resume: Command = {
  usage: "resume ID",
  summary: "let a paused container go on",
  options: {},
  async run({ states }, args) {
    const [id = ""] = takeWords("resume", args.rest, "container id");
    const container = states.load(id);
    if (statusOf(states, container) !== "paused") throw refuse("container not paused", id);
    await thaw(readCgroupLayout(), container.cgroupOwner);
    return 0;
  },
};

function refuse(message: string, object: string): BerthError {
  return new BerthError("conflict", message, { operation: "pause container", object });
}

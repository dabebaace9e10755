import { statusOf } from "#oci/container-status.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { SPEC_VERSION } from "#runtime/spec-version.ts";
import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";

/** The specification's state, with what runc shows beside it. */
export function describe(states: StateDirectory, container: StoredContainer) {
  const status = statusOf(states, container);
  const { annotations } = container.spec;
  return {
    ociVersion: SPEC_VERSION,
    id: container.id,
    pid: status === "stopped" ? 0 : container.pid,
    status,
    bundle: container.bundle,
    rootfs: container.rootfs,
    created: container.created,
    ...(annotations && { annotations }),
    owner: "",
  };
}

export const state: Command = {
  usage: "state ID",
  summary: "print the state of a container as JSON",
  options: {},
  run({ states }, args) {
    const [id = ""] = takeWords("state", args.rest, "container id");
    process.stdout.write(`${JSON.stringify(describe(states, states.load(id)), null, 2)}\n`);
    return 0;
  },
};

import { createContainer } from "#oci/create.ts";
import type { Arguments } from "../arguments.ts";
import { takeWords } from "../arguments.ts";
import type { Command } from "../command.ts";

/** Options of `create`, `run` and `restore` alike. */
export const CREATE_OPTIONS = {
  "bundle b": "value",
  "console-socket": "value",
  "pid-file": "value",
  "preserve-fds": "number",
  "no-pivot": "flag",
  "no-new-keyring": "flag",
} as const;

export function createOptions(args: Arguments) {
  const consoleSocket = args.value("console-socket");
  const pidFile = args.value("pid-file");
  return {
    bundle: args.value("bundle") || ".",
    ...(consoleSocket && { consoleSocket }),
    ...(pidFile && { pidFile }),
    preserveFds: args.number("preserve-fds") ?? 0,
    noPivot: args.flag("no-pivot"),
    noNewKeyring: args.flag("no-new-keyring"),
  };
}

export const create: Command = {
  usage: "create ID",
  summary: "make a container from a bundle; it waits for its start",
  options: CREATE_OPTIONS,
  async run({ states, systemdCgroup }, args) {
    const [id = ""] = takeWords("create", args.rest, "container id");
    const { run } = await createContainer(states, {
      ...createOptions(args),
      systemdCgroup,
      id,
      foreground: false,
    });
    run.shim.close();
    await run.ended;
    return 0;
  },
};

import { type CriuOptions, checkpointContainer, restoreContainer } from "#oci/checkpoint.ts";
import { type Arguments, takeWords, usage } from "../arguments.ts";
import type { Command } from "../command.ts";

const CRIU_OPTIONS = {
  "image-path": "value",
  "work-path": "value",
  "tcp-established": "flag",
  "ext-unix-sk": "flag",
  "shell-job": "flag",
  "file-locks": "flag",
  "manage-cgroups-mode": "value",
} as const;

function criuOptions(args: Arguments): CriuOptions {
  return {
    imagePath: args.value("image-path") ?? "checkpoint",
    workPath: args.value("work-path"),
    tcpEstablished: args.flag("tcp-established"),
    externalUnixSockets: args.flag("ext-unix-sk"),
    shellJob: args.flag("shell-job"),
    fileLocks: args.flag("file-locks"),
    manageCgroups: args.value("manage-cgroups-mode"),
  };
}

export const checkpoint: Command = {
  usage: "checkpoint ID",
  summary: "write a container's processes into files by criu, and end it",
  options: { ...CRIU_OPTIONS, "leave-running": "flag", "pre-dump": "flag", "parent-path": "value" },
  async run({ states }, args) {
    const [id = ""] = takeWords("checkpoint", args.rest, "container id");
    await checkpointContainer(states, states.load(id), {
      ...criuOptions(args),
      leaveRunning: args.flag("leave-running"),
      preDump: args.flag("pre-dump"),
      parentPath: args.value("parent-path"),
    });
    return 0;
  },
};

export const restore: Command = {
  usage: "restore ID",
  summary: "bring a container back from a checkpoint",
  options: { ...CRIU_OPTIONS, "bundle b": "value", "pid-file": "value", "detach d": "flag" },
  async run({ states }, args) {
    const [id = ""] = takeWords("restore", args.rest, "container id");
    if (!args.flag("detach"))
      throw usage("restore: only with --detach: the processes come back as nobody's children");
    await restoreContainer(states, {
      ...criuOptions(args),
      id,
      bundle: args.value("bundle") || ".",
      pidFile: args.value("pid-file"),
    });
    return 0;
  },
};

/**
 * Every command by name, with a line about it. A command's code is loaded when it is called, not before: start-up time
 * is what most commands consist of.
 */
import type { Command } from "#cli/command.ts";

export interface Entry {
  summary: string;
  load: () => Promise<{ default: Command }>;
}

const container: Record<string, Entry> = {
  attach: {
    summary: "Attach to a running container's streams",
    load: () => import("#cli/commands/attach.ts"),
  },
  commit: {
    summary: "Make an image of what a container changed",
    load: () => import("#cli/commands/commit.ts"),
  },
  cp: {
    summary: "Copy files between a container and this machine",
    load: () => import("#cli/commands/cp.ts"),
  },
  create: { summary: "Make a container without starting it", load: () => import("#cli/commands/create.ts") },
  diff: {
    summary: "Show what a container changed in its file system",
    load: () => import("#cli/commands/diff.ts"),
  },
  exec: { summary: "Run a command in a running container", load: () => import("#cli/commands/exec.ts") },
  export: {
    summary: "Write a container's file system as an archive",
    load: () => import("#cli/commands/export.ts"),
  },
  kill: { summary: "Send containers a signal", load: () => import("#cli/commands/kill.ts") },
  logs: { summary: "Show what a container has printed", load: () => import("#cli/commands/logs.ts") },
  pause: { summary: "Freeze the processes of containers", load: () => import("#cli/commands/pause.ts") },
  port: {
    summary: "Show where a container's ports are published",
    load: () => import("#cli/commands/port.ts"),
  },
  rename: { summary: "Rename a container", load: () => import("#cli/commands/rename.ts") },
  restart: {
    summary: "Stop containers and start them again",
    load: () => import("#cli/commands/restart.ts"),
  },
  rm: { summary: "Remove containers", load: () => import("#cli/commands/rm.ts") },
  run: { summary: "Make a container from an image and start it", load: () => import("#cli/commands/run.ts") },
  start: { summary: "Start containers that do not run", load: () => import("#cli/commands/start.ts") },
  stats: {
    summary: "Show what containers use, as they use it",
    load: () => import("#cli/commands/stats.ts"),
  },
  stop: { summary: "Stop running containers", load: () => import("#cli/commands/stop.ts") },
  top: { summary: "Show the processes of a container", load: () => import("#cli/commands/top.ts") },
  unpause: { summary: "Let frozen containers go on", load: () => import("#cli/commands/unpause.ts") },
  update: {
    summary: "Change limits and restart policies of containers",
    load: () => import("#cli/commands/update.ts"),
  },
  wait: {
    summary: "Wait for containers to end, show their exit codes",
    load: () => import("#cli/commands/wait.ts"),
  },
};

const image: Record<string, Entry> = {
  history: {
    summary: "Show the steps an image was made in",
    load: () => import("#cli/commands/history.ts"),
  },
  import: {
    summary: "Make an image of a root file system's archive",
    load: () => import("#cli/commands/import.ts"),
  },
  load: { summary: "Load images from an archive", load: () => import("#cli/commands/load.ts") },
  pull: { summary: "Fetch an image from a registry", load: () => import("#cli/commands/pull.ts") },
  push: { summary: "Send an image to a registry", load: () => import("#cli/commands/push.ts") },
  tag: { summary: "Give an image a further name", load: () => import("#cli/commands/tag.ts") },
};

const ps: Entry = { summary: "List containers", load: () => import("#cli/commands/ps.ts") };
const prune = (what: string, load: Entry["load"]): Entry => ({ summary: `Remove ${what}`, load });
const images: Entry = { summary: "List images", load: () => import("#cli/commands/images.ts") };
const rmi: Entry = { summary: "Remove images", load: () => import("#cli/commands/rmi.ts") };
const inspect: Entry = {
  summary: "Show all there is to know of an object",
  load: () => import("#cli/commands/inspect.ts"),
};
const events: Entry = {
  summary: "Show what happens, as it happens",
  load: () => import("#cli/commands/events.ts"),
};
const info: Entry = {
  summary: "Show the state of the daemon and the host",
  load: () => import("#cli/commands/info.ts"),
};

export const commands: Record<string, Entry> = {
  ...container,
  ...image,
  events,
  images,
  info,
  inspect,
  login: {
    summary: "Keep credentials for a registry",
    load: () => import("#cli/commands/login.ts"),
  },
  logout: {
    summary: "Forget the credentials for a registry",
    load: () => import("#cli/commands/logout.ts"),
  },
  ps,
  rmi,
  search: {
    summary: "Look for images in a registry that has a search",
    load: () => import("#cli/commands/search.ts"),
  },
  version: {
    summary: "Show the versions of client and daemon",
    load: () => import("#cli/commands/version.ts"),
  },
};

export const groups: Record<string, { summary: string; commands: Record<string, Entry> }> = {
  checkpoint: {
    summary: "Work with checkpoints (experimental)",
    commands: {
      create: {
        summary: "Keep a running container's state",
        load: () => import("#cli/commands/checkpoint-create.ts"),
      },
      ls: { summary: "List a container's checkpoints", load: () => import("#cli/commands/checkpoint-ls.ts") },
      rm: { summary: "Remove a checkpoint", load: () => import("#cli/commands/checkpoint-rm.ts") },
    },
  },
  container: {
    summary: "Work with containers",
    commands: {
      ...container,
      inspect: { ...inspect, load: () => import("#cli/commands/container-inspect.ts") },
      ls: ps,
      list: ps,
      prune: prune("all containers that do not run", () => import("#cli/commands/container-prune.ts")),
      ps,
    },
  },
  image: {
    summary: "Work with images",
    commands: {
      ...image,
      inspect: { ...inspect, load: () => import("#cli/commands/image-inspect.ts") },
      ls: images,
      list: images,
      prune: prune("images that nobody uses", () => import("#cli/commands/image-prune.ts")),
      rm: rmi,
    },
  },
  network: {
    summary: "Work with networks",
    commands: {
      connect: { summary: "Join a network", load: () => import("#cli/commands/network-connect.ts") },
      create: { summary: "Make a network", load: () => import("#cli/commands/network-create.ts") },
      disconnect: { summary: "Leave a network", load: () => import("#cli/commands/network-disconnect.ts") },
      inspect: {
        summary: "Show all there is to know of networks",
        load: () => import("#cli/commands/network-inspect.ts"),
      },
      ls: { summary: "List networks", load: () => import("#cli/commands/network-ls.ts") },
      prune: prune("networks that nobody uses", () => import("#cli/commands/network-prune.ts")),
      rm: { summary: "Remove networks", load: () => import("#cli/commands/network-rm.ts") },
    },
  },
  volume: {
    summary: "Work with volumes",
    commands: {
      create: { summary: "Make a volume", load: () => import("#cli/commands/volume-create.ts") },
      inspect: {
        summary: "Show all there is to know of volumes",
        load: () => import("#cli/commands/volume-inspect.ts"),
      },
      ls: { summary: "List volumes", load: () => import("#cli/commands/volume-ls.ts") },
      prune: prune("volumes that nobody uses", () => import("#cli/commands/volume-prune.ts")),
      rm: { summary: "Remove volumes", load: () => import("#cli/commands/volume-rm.ts") },
    },
  },
  system: {
    summary: "Work with the daemon",
    commands: {
      df: { summary: "Show what takes space on the disk", load: () => import("#cli/commands/system-df.ts") },
      events,
      info,
      prune: prune("what nobody uses, of every kind", () => import("#cli/commands/system-prune.ts")),
    },
  },
  debug: {
    summary: "Look inside",
    commands: {
      program: {
        summary: "Show the system calls a container was started with",
        load: () => import("#cli/commands/debug-program.ts"),
      },
      timings: {
        summary: "Show how long the stages of a container's last start took",
        load: () => import("#cli/commands/debug-timings.ts"),
      },
    },
  },
};

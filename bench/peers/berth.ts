/** Berth from this checkout, with everything of its own under one directory. */
import type { ChildProcess } from "node:child_process";
import { join, resolve } from "node:path";
import { removeEmptyParents } from "#test/fixtures/cgroups.ts";
import { removeBridgeRules, removeUnusedUserChain } from "#test/fixtures/firewall.ts";
import { claimSubnet } from "#test/fixtures/subnet.ts";
import type { BenchHost } from "./bench-host.ts";
import { killTrees, removeRunning, unmountBelow } from "./leftovers.ts";
import { removeLink } from "./links.ts";
import type { Peer } from "./peer-types.ts";
import {
  answering,
  endDaemon,
  enter,
  isContained,
  parentOf,
  processesWith,
  startDaemon,
  tree,
} from "./processes.ts";

const ROOT = resolve(import.meta.dirname, "../..");

/** With `host` the only engine in that network. */
export async function startBerth(directory: string, host?: BenchHost): Promise<Peer> {
  const socket = join(directory, "berth.sock");
  const execRoot = join(directory, "run");
  const dataRoot = join(directory, "data");
  // Room for a thousand containers, and names of this run: others may be under way.
  const subnet = await claimSubnet(204, 4);
  const bridge = `benchb${process.pid}`;
  const args = ["--data-root", dataRoot, "--exec-root", execRoot, "-H", `unix://${socket}`];
  args.push("--pidfile", join(directory, "pid"), "--bridge", bridge, "--bip", `10.213.${subnet.number}.1/22`);
  const env = { ...process.env, DOCKER_HOST: `unix://${socket}` };
  let daemon: ChildProcess | undefined;
  const kept = () =>
    processesWith(join(execRoot, "launcher.sock")).concat(processesWith(join(execRoot, "proxy.sock")));
  const peer: Peer = {
    name: "berth",
    directory,
    socket,
    dataRoot,
    client: { words: ["docker"], env },
    ownClient: { words: [join(ROOT, "bin/berth")], env },
    // Of what the launcher started only itself: the rest are shims.
    daemonProcesses: () => {
      const all = kept();
      return [...tree(daemon?.pid), ...all.filter((pid) => !all.includes(parentOf(pid)))];
    },
    processes: () => [...new Set([...tree(daemon?.pid), ...kept()])].filter((pid) => !isContained(pid)),
    host,
    halt: () => endDaemon(daemon),
    boot: async () => {
      daemon = startDaemon([...enter(host), join(ROOT, "bin/berthd"), ...args], directory, process.env);
      await answering(socket, daemon, directory);
    },
    stop: async () => {
      await removeRunning({ socket });
      await endDaemon(daemon);
      killTrees(kept());
      unmountBelow(directory);
      removeEmptyParents();
      subnet.release();
      // Links and rules go with the network they are in.
      if (host !== undefined) return;
      removeLink(bridge);
      removeBridgeRules(bridge);
      removeUnusedUserChain();
    },
  };
  return booted(peer);
}

/** Ends what was begun if it does not start. */
export async function booted(peer: Peer): Promise<Peer> {
  try {
    await peer.boot();
    return peer;
  } catch (error) {
    await peer.stop();
    throw error;
  }
}

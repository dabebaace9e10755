/** Debian's dockerd with its containerd and runc, unpacked and not installed. */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { debianPeers } from "#test/fixtures/debian-peers.ts";
import { rememberChains, removeBridgeRules, removeUnusedUserChain } from "#test/fixtures/firewall.ts";
import { claimSubnet } from "#test/fixtures/subnet.ts";
import type { BenchHost } from "./bench-host.ts";
import { booted } from "./berth.ts";
import { killTrees, removeRunning, unmountBelow } from "./leftovers.ts";
import { makeBridge, removeLink } from "./links.ts";
import type { Peer } from "./peer-types.ts";
import { answering, endDaemon, enter, isContained, processesWith, startDaemon, tree } from "./processes.ts";

/** As startBerth. */
export async function startDockerd(directory: string, host?: BenchHost): Promise<Peer> {
  const peers = debianPeers();
  const restoreChains = host === undefined ? rememberChains() : () => {};
  const socket = join(directory, "docker.sock");
  const dataRoot = join(directory, "data");
  const execRoot = join(directory, "run");
  const config = join(directory, "daemon.json");
  mkdirSync(directory, { recursive: true });
  writeFileSync(config, "{}");
  const subnet = await claimSubnet(208, 4);
  const bridge = `benchd${process.pid}`;
  makeBridge(bridge, `10.213.${subnet.number}.1/22`, host);
  const args = ["--data-root", dataRoot, "--exec-root", execRoot, "-H", `unix://${socket}`];
  args.push("--pidfile", join(directory, "pid"), "--bridge", bridge, "--config-file", config);
  const env = { ...process.env, DOCKER_HOST: `unix://${socket}` };
  let daemon: ChildProcess | undefined;
  return booted({
    name: "dockerd",
    directory,
    socket,
    dataRoot,
    client: { words: ["docker"], env },
    ownClient: { words: ["docker"], env },
    daemonProcesses: () => tree(daemon?.pid),
    // Shims are no children of containerd's; they are told its socket.
    processes: () =>
      [...new Set([...tree(daemon?.pid), ...processesWith(join(execRoot, "containerd"))])].filter(
        (pid) => !isContained(pid),
      ),
    host,
    halt: () => endDaemon(daemon),
    boot: async () => {
      daemon = startDaemon([...enter(host), peers.program("dockerd"), ...args], directory, peers.env);
      await answering(socket, daemon, directory);
    },
    stop: async () => {
      await removeRunning({ socket });
      await endDaemon(daemon);
      killTrees(processesWith(join(execRoot, "containerd")));
      subnet.release();
      // It mounts its data root on itself and keeps the host's network by a name, and leaves both.
      unmountBelow(directory);
      if (host !== undefined) return;
      removeLink(bridge);
      removeBridgeRules(bridge);
      restoreChains();
      removeUnusedUserChain();
    },
  });
}

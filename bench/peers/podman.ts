/**
 * Debian's podman with crun and the CNI plugins, as installed, over roots, a bridge and a mount namespace of its own: crun
 * refuses a layout with both versions of control groups, so that there the second one is not mounted, and what the plugins keep
 * in fixed places is kept in its directory. It has no daemon; its API is a service that is started for those rows.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { claimSubnet } from "#test/fixtures/subnet.ts";
import type { BenchHost } from "./bench-host.ts";
import { booted } from "./berth.ts";
import { killTrees, removeRunning } from "./leftovers.ts";
import { removeLink } from "./links.ts";
import type { Peer } from "./peer-types.ts";
import { answering, endDaemon, isContained, processesWith, startDaemon, tree } from "./processes.ts";

/** The control group that podman puts its containers below; other podmans do, too. */
const GROUP = "libpod_parent";
const GROUPS = "/sys/fs/cgroup";
const PLUGIN_CHAIN = "CNI-FORWARD";

/** As startBerth. */
export async function startPodman(directory: string, host?: BenchHost): Promise<Peer> {
  const socket = join(directory, "podman.sock");
  for (const part of ["cni", "networks", "tmp"]) mkdirSync(join(directory, part), { recursive: true });
  const subnet = await claimSubnet(212, 4);
  const bridge = `benchp${process.pid}`;
  writeFileSync(
    join(directory, "networks/87-podman.conflist"),
    network(bridge, `10.213.${subnet.number}.0/22`),
  );
  const config = join(directory, "containers.conf");
  // Its own defaults are beyond what every host allows; by its API, lower and upper limit are taken for each other.
  writeFileSync(
    config,
    `[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n[engine]\ncgroup_manager = "cgroupfs"\n`,
  );
  const chainsBefore = host !== undefined || forwardRules().length > 0;
  const room = await mountNamespace(join(directory, "cni"));
  const env = { ...process.env, CONTAINERS_CONF: config };
  const places = [
    "--root",
    join(directory, "data"),
    "--runroot",
    join(directory, "run"),
    "--tmpdir",
    join(directory, "tmp"),
  ];
  const choices = ["--storage-driver", "overlay", "--events-backend", "file", "--runtime", "/usr/bin/crun"];
  const into = ["nsenter", `--mount=/proc/${room.pid}/ns/mnt`];
  if (host !== undefined) into.push(`--net=${host.networkPath}`);
  const words = [
    ...into,
    "podman",
    ...places,
    ...choices,
    "--network-config-dir",
    join(directory, "networks"),
  ];
  let service: ChildProcess | undefined;
  return booted({
    name: "podman",
    directory,
    socket,
    dataRoot: join(directory, "data"),
    client: { words, env },
    ownClient: { words, env },
    daemonProcesses: () => tree(service?.pid),
    // conmon of each container is told where all that is.
    processes: () =>
      [...new Set([...tree(service?.pid), ...processesWith(directory)])].filter((pid) => !isContained(pid)),
    host,
    halt: () => endDaemon(service),
    boot: async () => {
      service = startDaemon(
        [...words, "system", "service", "--time", "0", `unix://${socket}`],
        directory,
        env,
      );
      await answering(socket, service, directory);
    },
    stop: async () => {
      await removeRunning({ socket });
      await endDaemon(service);
      killTrees(processesWith(`${directory}/`).filter((pid) => pid !== room.pid));
      room.kill("SIGKILL");
      subnet.release();
      removeGroups();
      if (host !== undefined) return;
      removeLink(bridge);
      if (!chainsBefore) removePluginChains();
    },
  });
}

/** A process in a mount namespace that has podman's places. */
async function mountNamespace(plugins: string): Promise<ChildProcess> {
  const script = `
    umount ${GROUPS}/unified 2>/dev/null
    mkdir -p /var/lib/cni && mount --bind "$0" /var/lib/cni && echo ready && exec sleep 14400`;
  const child = spawn("unshare", ["-m", "sh", "-c", script, plugins], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ready = await Promise.race([once(child.stdout, "data"), once(child, "exit").then(() => undefined)]);
  if (ready === undefined) throw new Error("podman gets no mount namespace");
  return child;
}

/** As Debian's 87-podman-bridge.conflist, on another bridge. */
function network(bridge: string, subnet: string): string {
  const ipam = { type: "host-local", routes: [{ dst: "0.0.0.0/0" }], ranges: [[{ subnet }]] };
  const plugins = [
    { type: "bridge", bridge, isGateway: true, ipMasq: true, hairpinMode: true, ipam },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall" },
    { type: "tuning" },
  ];
  return JSON.stringify({ cniVersion: "0.4.0", name: "podman", plugins });
}

function forwardRules(): string[] {
  const ran = spawnSync("iptables", ["-w", "-S", PLUGIN_CHAIN], { encoding: "utf8" });
  return (ran.stdout ?? "").split("\n").filter((line) => line.startsWith("-"));
}

/** The firewall plugin leaves its chains; where no container of anybody's uses them, they go. */
function removePluginChains(): void {
  if (forwardRules().some((line) => line.startsWith("-A") && !line.endsWith("-j CNI-ADMIN"))) return;
  const comment = ["-m", "comment", "--comment", "CNI firewall plugin rules"];
  for (const words of [
    ["-D", "FORWARD", ...comment, "-j", PLUGIN_CHAIN],
    ["-F", PLUGIN_CHAIN],
    ["-X", PLUGIN_CHAIN],
    ["-X", "CNI-ADMIN"],
  ]) {
    spawnSync("iptables", ["-w", ...words], { stdio: "ignore" });
  }
}

/** Groups that nothing is in. */
function removeGroups(): void {
  for (const hierarchy of readdirSync(GROUPS)) {
    const parent = join(GROUPS, hierarchy, GROUP);
    if (!existsSync(parent)) continue;
    const below = readdirSync(parent, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const path of [...below.map(({ name }) => join(parent, name)), parent]) {
      try {
        rmdirSync(path);
      } catch {
        // In use, by another podman.
      }
    }
  }
}

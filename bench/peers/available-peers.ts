/** Which peers are on this machine, in which versions, and how they get there. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { aptGet } from "#test/fixtures/debian-archive.ts";
import { debianPeers } from "#test/fixtures/debian-peers.ts";
import type { StartPeer } from "../engines.ts";
import { startBerth } from "./berth.ts";
import { startDockerd } from "./dockerd.ts";
import { startPodman } from "./podman.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const LIST = join(ROOT, "scripts/bench-packages.txt");
const NOT_WANTED = "was not asked for";
const HOW = "`npm run bench -- --install-peers` gets it";

/** Debian's podman with what it needs, and the programs that ask and answer; dockerd, containerd and runc are only unpacked. */
export function installPeers(): void {
  const wanted = missingPackages();
  if (wanted.length > 0) {
    console.error(`bench: installing ${wanted.join(" ")} …`);
    aptGet(["install", "--no-install-recommends", ...wanted]);
  }
  debianPeers();
}

/** Packages of the list whose file is not there. */
export function missingPackages(): string[] {
  return readFileSync(LIST, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(" "))
    .filter(([, file]) => !existsSync(file ?? ""))
    .map(([name]) => name ?? "");
}

export interface AvailablePeers {
  starters: Record<string, StartPeer>;
  /** Peers that are not here, and why. */
  absent: Record<string, string>;
  /** What says which version it is, by program. */
  versions: Record<string, string>;
}

/** `wanted`: whether any are to be looked for. */
export function availablePeers(wanted: boolean): AvailablePeers {
  const found: AvailablePeers = { starters: { berth: startBerth }, absent: {}, versions: {} };
  found.versions.docker = versionOf("docker");
  if (!wanted) {
    found.absent = { dockerd: NOT_WANTED, podman: NOT_WANTED };
    return found;
  }
  const unpacked = existsSync(join(ROOT, "build/peers/root/usr/bin/runc"));
  if (unpacked) {
    const { program, env } = debianPeers();
    found.starters.dockerd = startDockerd;
    for (const name of ["dockerd", "containerd", "runc"])
      found.versions[name] = versionOf(program(name), env);
  } else found.absent.dockerd = `is not here: ${HOW}`;
  const lacking = ["podman", "crun"].filter((name) => !existsSync(`/usr/bin/${name}`));
  if (lacking.length === 0) {
    found.starters.podman = startPodman;
    for (const name of ["podman", "crun", "conmon"]) found.versions[name] = versionOf(name);
  } else found.absent.podman = `${lacking.join(" and ")} not here: ${HOW}`;
  return found;
}

function versionOf(program: string, env: NodeJS.ProcessEnv = process.env): string {
  const ran = spawnSync(program, ["--version"], { env, encoding: "utf8" });
  return (ran.stdout ?? "").split("\n")[0]?.trim() || "not known";
}

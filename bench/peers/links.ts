/** Bridges of the peers that do not make one of their own. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { BenchHost } from "./bench-host.ts";
import { enter } from "./processes.ts";

/** Makes a bridge with this address ("10.213.208.1/22"), up. */
export function makeBridge(name: string, address: string, host: BenchHost | undefined): void {
  const ip = (...words: string[]) => {
    const [command = "", ...args] = [...enter(host), "ip", ...words];
    execFileSync(command, args);
  };
  ip("link", "add", name, "type", "bridge");
  ip("addr", "add", address, "dev", name);
  ip("link", "set", name, "up");
}

export function removeLink(name: string): void {
  if (existsSync(`/sys/class/net/${name}`)) execFileSync("ip", ["link", "del", name]);
}

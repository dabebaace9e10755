/** What the daemon tells the name server's thread, and what that tells back. */
import type { ContainerNames } from "#networks/dns/container-names.ts";

export type DnsMessage =
  /** Takes the place of what was told of this container before. */
  | { kind: "names"; names: ContainerNames }
  /** The container's first process runs: its sockets can be had. */
  | { kind: "serve"; containerId: string; pid: number }
  | { kind: "forget"; containerId: string };

/** Descriptors of this process. */
export interface SocketNumbers {
  udp: number;
  tcp: number;
}

export type DnsReport =
  /** The container's questions are answered from now on; or it has ended. `made`: its shim has no copies of these sockets. */
  | { kind: "served"; containerId: string; made?: SocketNumbers }
  | { kind: "failed"; containerId: string; reason: string };

export interface DnsThreadData {
  /** An eventfd: something was said. */
  wake: number;
  /** One number; other than 0: end. */
  stop: SharedArrayBuffer;
}

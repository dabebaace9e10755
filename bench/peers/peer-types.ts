/** The engines that are measured side by side, each with roots and a bridge of its own. */
import type { BenchHost } from "./bench-host.ts";

export interface Peer {
  name: string;
  /** Everything of its own is under this one. */
  directory: string;
  /** Path of its API socket. */
  socket: string;
  /** Where it keeps images and containers. */
  dataRoot: string;
  /** Words before the arguments of its users' command line, and their environment. */
  client: Client;
  /** What people start when they have installed it; Berth's own command line where `client` is Docker's. */
  ownClient: Client;
  /** Process ids of everything that exists while it is idle. */
  daemonProcesses(): number[];
  /** Process ids of everything it has running, but for what runs inside containers. */
  processes(): number[];
  /** Where it is alone; undefined for the machine itself. */
  host: BenchHost | undefined;
  /** Ends the daemon, and what it keeps goes on being there. */
  halt(): Promise<void>;
  /** Starts it again; until its API answers. */
  boot(): Promise<void>;
  /** Ends it and removes all it made outside of `directory`. */
  stop(): Promise<void>;
}

export interface Client {
  words: readonly string[];
  env: NodeJS.ProcessEnv;
}

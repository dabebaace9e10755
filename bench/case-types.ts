/** What a measurement is: cases in groups, each measured on every contestant in turn. */
import type { BareLauncher } from "./floors/bare-launcher.ts";
import type { Peer } from "./peers/peer-types.ts";

export type Unit = "ms" | "KiB" | "MiB" | "MB/s" | "/s";

export interface Case {
  name: string;
  unit: Unit;
  /** Of each contestant, interleaved with the others'. */
  runs: number;
  /** Larger figures are better ones. */
  more?: boolean;
  /** What Berth may need at most of dockerd's figure; with `more`, what it has to reach at least. */
  budget?: number;
  /** An absolute limit to Berth's figure. */
  bound?: number;
  /** Printed where a peer is faster: why. */
  why?: string;
  /** Said beside the name: how a figure is worked out that isn't measured as the name tells. */
  note?: string;
  /** Peers that cannot do it, and why. */
  without?: Readonly<Record<string, string>>;
  /** Before the first run on a peer, unmeasured; answers how to undo it after the last. */
  prepare?(peer: Peer): Promise<Undo>;
  /** One run; the figure in `unit`. */
  measure(peer: Peer): Promise<number>;
  /** One run of the least that has to be done, without an engine. */
  floor?(rig: Rig): Promise<number>;
}

export type Undo = () => Promise<unknown>;

/** What floors are measured with. */
export interface Rig {
  launcher: BareLauncher;
  /** A temporary one for all of them. */
  directory: string;
}

/** Cases that share engines just started, and what is prepared in them. */
export interface Group {
  /** What the group is asked for by on the command line. */
  part: string;
  title: string;
  /** Each engine on a host of its own, for what goes through the rules of all engines on a host. */
  alone?: boolean;
  prepare?(peer: Peer): Promise<Undo>;
  cases: readonly Case[];
}

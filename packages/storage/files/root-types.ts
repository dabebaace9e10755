/**
 * A container's root as work on its files needs it: what to mount where. Plain data, sent to workers.
 */
import type { RootfsPlan } from "#runtime/launch-types.ts";

export interface RootRequest {
  rootfs: RootfsPlan;
  /** The container's first process while it runs: its root is taken instead of a mount of our own. */
  running?: { pid: number; startTicks: string };
  /** Nothing outside of mounts may be written. */
  readOnly: boolean;
  /** Volumes, binds and the like, outer ones first. Empty for the root file system alone. */
  mounts: RootMount[];
}

export interface RootMount {
  /** Absolute inside the root; links are followed inside it. */
  destination: string;
  /** Path on the host, of a file or directory; unused while the container runs, whose own mounts are taken. */
  source: string;
  /** Part of `source`, resolved inside it; empty for all. */
  subpath: string;
  recursive: boolean;
  readOnly: boolean;
  /** Left out where the source isn't there. */
  optional: boolean;
}

/** What is at a path, as clients are told. */
export interface PathStatus {
  name: string;
  /** Bytes. */
  size: number;
  /** Mode bits in the order of Go's os.FileMode, which is what clients expect. */
  mode: number;
  /** Nanoseconds since the epoch. */
  modifiedAt: bigint;
  /** Where a link leads to inside the root, all links followed; empty for everything else. */
  linkTarget: string;
}

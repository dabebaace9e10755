/**
 * What the daemon and the program that serves unions (apps/berth-union) agree on.
 *
 * A union shows several directories as one: the first branch takes what is written, those below are only read. How its
 * marks lie on the disk is told in README.md. The program outlives the daemon, and all mounts of a data root are its own.
 */

/** A directory of the host that is part of a union. Nobody but the union may change it while it is mounted. */
export interface UnionBranch {
  /** Absolute. */
  path: string;
  writable: boolean;
}

export interface UnionMount {
  /** A directory that exists; absolute. The mount is made in the mount namespace of the program. */
  mountPoint: string;
  /** Uppermost first. None but the first may be writable; without a writable one the mount is read-only. */
  branches: readonly UnionBranch[];
}

/** One that the program serves. */
export interface UnionListed extends UnionMount {
  /** Nodes that the kernel knows: what the mount costs. */
  nodes: number;
}

export interface Unions {
  /**
   * Mounts a union, and comes back when it answers. One that is mounted already with the same branches stays; a mount
   * that somebody left there and nobody serves any more is taken away first. Throws "invalid" where branches do not fit,
   * "not-found" for a branch or mount point that is not there, "conflict" for a mount point that is something else.
   */
  mount(union: UnionMount): Promise<void>;
  /** Takes the mount away, also one that is still used (who has files open keeps them). Does nothing where there is none. */
  unmount(mountPoint: string): Promise<void>;
  /** What is served now; empty where no program runs. */
  list(): Promise<UnionListed[]>;
  /** Lets go of the program, which goes on. */
  close(): void;
}

/** Orders on the program's socket: a line of JSON each, answered in order by a line of JSON. */
export type UnionOrder =
  | ({ order: "mount" } & UnionMount)
  | { order: "unmount"; mountPoint: string }
  | { order: "list" };

export type UnionAnswer =
  | { ok: true; unions?: UnionListed[] }
  | { ok: false; code: "invalid" | "not-found" | "conflict" | "internal"; message: string };

/** What the main thread of berth-union and the one that serves say to each other. */
import type { Errand } from "#storage/union/errands.ts";
import type { UnionBranch } from "#storage/union/union-types.ts";

export interface ThreadSetup {
  /** Written when there is an order. */
  wake: number;
}

export type ThreadOrder =
  /** Serve a device that is about to be mounted; its descriptor passes to the thread. */
  | { kind: "serve"; id: number; device: number; branches: readonly UnionBranch[] }
  | { kind: "count"; ask: number }
  /** An errand is done: 0, or an error number. */
  | { kind: "done"; ticket: number; errno: number }
  /** End: a thread that waits for requests is ended by nobody else. */
  | { kind: "leave" };

export type ThreadNews =
  /** The branches are open: mount it. */
  | { kind: "prepared"; id: number }
  | { kind: "failed"; id: number; code: string; message: string }
  /** The kernel and we have agreed: it answers. */
  | { kind: "answers"; id: number }
  /** The mount is gone. */
  | { kind: "ended"; id: number }
  | { kind: "errand"; ticket: number; errand: Errand }
  | { kind: "counted"; ask: number; nodes: [id: number, nodes: number][] }
  | { kind: "fault"; message: string };

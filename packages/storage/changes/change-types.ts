/** One line of `docker diff`. */

/** Docker's numbers: changed, added, gone. */
export type ChangeKind = 0 | 1 | 2;

export interface LayerChange {
  /** Absolute inside the root: "/etc/passwd". */
  path: string;
  kind: ChangeKind;
}

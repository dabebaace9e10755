/**
 * AUFS's marks, as they lie on the disk: what hides what, and the names that are the union's own.
 */

/** Before a name, in a branch above: the name is gone. */
export const WHITEOUT = ".wh.";
/** In a directory: nothing of those below shows through it. */
export const OPAQUE = ".wh..wh..opq";
/** Begins what belongs to the file system itself; such a name hides nothing. */
export const OWN = ".wh..wh.";

/** In the root of the writable branch: what is being made, or being removed. Emptied at each mount. */
export const ORPHANS = ".wh..wh.orph";
/** There, too: copies of files that have several names below, by the number of the inode there. */
export const PSEUDO_LINKS = ".wh..wh.plnk";
/** There, too: what numbers copied files had below (inode-numbers.ts). */
export const NUMBERS = ".wh..wh.xino";

export const OPAQUE_MODE = 0o444;

/** Nobody but the union makes or sees such a name. */
export function isReserved(name: string): boolean {
  return name.startsWith(WHITEOUT);
}

/**
 * The entries of a directory of a union, merged and in an order that outlasts changes.
 *
 * An entry's position is a hash of its name. So a reader who comes back with a position finds the next entry, whatever was
 * made or removed meanwhile, and although the list was thrown away and made again: nobody has to say that he reads.
 */
import { quickClose, quickEntries, quickOpen } from "#kernel/fuse/quick-calls.ts";
import { decodePath } from "#kernel/path-bytes.ts";
import { O_DIRECTORY, O_RDONLY } from "#kernel/syscalls.ts";
import { isReserved, OWN, WHITEOUT } from "#storage/union/marks.ts";
import { checked } from "#storage/union/refused.ts";

export interface Entry {
  readonly name: string;
  /** Position; the next one's is larger. */
  readonly at: number;
  /** Type bits of the mode, shifted as in a directory entry: DT_…; 0 if unknown. */
  readonly type: number;
  /** Uppermost branch that has it, and the inode there. */
  readonly branch: number;
  readonly inode: number;
}

/** Positions below belong to "." and "..". */
export const FIRST_POSITION = 3;

const buffer = Buffer.alloc(256 * 1024);

/** Calls with every entry of an open directory (O_PATH is enough) but "." and "..". */
export function readEntries(
  directory: number,
  each: (name: string, type: number, inode: number) => void,
): void {
  const fd = checked(quickOpen(directory, ".", O_RDONLY | O_DIRECTORY));
  try {
    for (;;) {
      const length = checked(quickEntries(fd, buffer));
      if (length === 0) return;
      for (let at = 0; at < length; at += buffer.readUInt16LE(at + 16)) {
        const from = at + 19;
        const name = decodePath(buffer.subarray(from, buffer.indexOf(0, from)));
        if (name === "." || name === "..") continue;
        const inode = buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 0x1_0000_0000;
        each(name, buffer[at + 18] as number, inode);
      }
    }
  } finally {
    quickClose(fd);
  }
}

export class Listing {
  readonly #entries: Entry[];

  private constructor(entries: Entry[]) {
    this.#entries = entries;
  }

  /** Merges the directories of several branches, uppermost first. */
  static read(layers: readonly number[], descriptor: (branch: number) => number): Listing {
    const entries: Entry[] = [];
    if (layers.length === 1) {
      const branch = layers[0] as number;
      readEntries(descriptor(branch), (name, type, inode) => {
        if (!isReserved(name)) entries.push({ name, at: positionOf(name), type, branch, inode });
      });
    } else {
      const seen = new Set<string>();
      for (const branch of layers) {
        const hidden: string[] = [];
        readEntries(descriptor(branch), (name, type, inode) => {
          if (isReserved(name)) {
            if (!name.startsWith(OWN)) hidden.push(name.slice(WHITEOUT.length));
          } else if (!seen.has(name)) {
            seen.add(name);
            entries.push({ name, at: positionOf(name), type, branch, inode });
          }
        });
        // What a branch hides it hides of those below it.
        for (const name of hidden) seen.add(name);
      }
    }
    entries.sort(byPosition);
    return new Listing(entries);
  }

  /** Of entries that are known, each name once. */
  static of(entries: readonly Omit<Entry, "at">[]): Listing {
    return new Listing(entries.map((entry) => ({ ...entry, at: positionOf(entry.name) })).sort(byPosition));
  }

  get length(): number {
    return this.#entries.length;
  }

  entry(index: number): Entry | undefined {
    return this.#entries[index];
  }

  /** Index of the first entry behind a position. */
  after(position: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as Entry).at <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  add(name: string, type: number, branch: number, inode: number): void {
    this.remove(name);
    const entry = { name, at: positionOf(name), type, branch, inode };
    let index = this.after(entry.at - 1);
    while (index < this.#entries.length && byPosition(this.#entries[index] as Entry, entry) < 0) index++;
    this.#entries.splice(index, 0, entry);
  }

  remove(name: string): void {
    const index = this.#find(name);
    if (index >= 0) this.#entries.splice(index, 1);
  }

  #find(name: string): number {
    const at = positionOf(name);
    for (let index = this.after(at - 1); index < this.#entries.length; index++) {
      const entry = this.#entries[index] as Entry;
      if (entry.at !== at) break;
      if (entry.name === name) return index;
    }
    return -1;
  }
}

function byPosition(one: Entry, other: Entry): number {
  return one.at - other.at || (one.name < other.name ? -1 : one.name > other.name ? 1 : 0);
}

/**
 * 52 bits of two mixed hashes. Two names of one directory at the same position are a matter of 1 in 10^9 for a million
 * of names; a reader who stops between them then misses the second.
 */
export function positionOf(name: string): number {
  let one = 0x811c9dc5;
  let two = 0x9e3779b9;
  for (let index = 0; index < name.length; index++) {
    const code = name.charCodeAt(index);
    one = Math.imul(one ^ code, 0x01000193);
    two = Math.imul(two ^ code, 0x85ebca6b);
    two ^= two >>> 13;
  }
  one ^= one >>> 16;
  one = Math.imul(one, 0x7feb352d);
  one ^= one >>> 15;
  two = Math.imul(two ^ (two >>> 16), 0xc2b2ae35);
  two ^= two >>> 16;
  return FIRST_POSITION + (one >>> 6) * 0x400_0000 + (two >>> 6);
}

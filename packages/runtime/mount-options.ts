/**
 * The option words of an OCI mount, sorted into what the kernel takes them as: attributes of the mount, propagation,
 * and parameters of the file system. Pure.
 */
import { BerthError } from "#errors/errors.ts";

/** MOUNT_ATTR_… of linux/mount.h. */
export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  ATIME_MASK: 0x70,
  RELATIME: 0x0,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  NODIRATIME: 0x80,
  NOSYMFOLLOW: 0x20_0000,
} as const;

/** MS_… propagation of linux/mount.h. */
export const PROPAGATION = {
  unbindable: 1 << 17,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
} as const;

export interface MountOptions {
  bind: boolean;
  /** Take over what is mounted below the source as well. */
  recursive: boolean;
  /** Attributes to set and to clear; for atime, clearing the mask is what makes room for the new value. */
  attributes: { set: number; clear: number };
  /** The same for everything below ("rro", "rnosuid" …). */
  recursiveAttributes: { set: number; clear: number };
  propagation: { flag: number; recursive: boolean } | undefined;
  /** Copy the content of what lies under a new tmpfs. */
  copyUp: boolean;
  /** Parameters for the file system: "size=64k", "newinstance". */
  parameters: string[];
}

/** Word → attribute to set, and whether it is the word that takes it away. */
const attributeWords: Record<string, readonly [attribute: number, on: boolean]> = {
  ro: [MOUNT_ATTR.RDONLY, true],
  rw: [MOUNT_ATTR.RDONLY, false],
  nosuid: [MOUNT_ATTR.NOSUID, true],
  suid: [MOUNT_ATTR.NOSUID, false],
  nodev: [MOUNT_ATTR.NODEV, true],
  dev: [MOUNT_ATTR.NODEV, false],
  noexec: [MOUNT_ATTR.NOEXEC, true],
  exec: [MOUNT_ATTR.NOEXEC, false],
  nodiratime: [MOUNT_ATTR.NODIRATIME, true],
  diratime: [MOUNT_ATTR.NODIRATIME, false],
  nosymfollow: [MOUNT_ATTR.NOSYMFOLLOW, true],
  symfollow: [MOUNT_ATTR.NOSYMFOLLOW, false],
};

const atimeWords: Record<string, number> = {
  relatime: MOUNT_ATTR.RELATIME,
  norelatime: MOUNT_ATTR.STRICTATIME,
  noatime: MOUNT_ATTR.NOATIME,
  atime: MOUNT_ATTR.RELATIME,
  strictatime: MOUNT_ATTR.STRICTATIME,
  nostrictatime: MOUNT_ATTR.RELATIME,
};

/** Words without a meaning for a container, accepted as they are common in fstab-like lists. */
const ignored = new Set([
  "defaults",
  "z",
  "Z",
  "cached",
  "delegated",
  "consistent",
  "nocopy",
  "async",
  "sync",
]);

/** Sorts the words; a later word overrules an earlier one. Throws "invalid" for a contradiction. */
export function parseMountOptions(words: readonly string[]): MountOptions {
  const options: MountOptions = {
    bind: false,
    recursive: false,
    attributes: { set: 0, clear: 0 },
    recursiveAttributes: { set: 0, clear: 0 },
    propagation: undefined,
    copyUp: false,
    parameters: [],
  };
  for (const word of words) readWord(word, options);
  return options;
}

function readWord(word: string, options: MountOptions): void {
  if (word === "bind" || word === "rbind") {
    options.bind = true;
    options.recursive = word === "rbind";
  } else if (word === "tmpcopyup") {
    options.copyUp = true;
  } else if (word === "idmap" || word === "ridmap") {
    throw new BerthError("not-implemented", "id-mapped mounts are not supported", {
      operation: "read mount options",
    });
  } else if (ignored.has(word) || word === "") {
    return;
  } else if (!readPropagation(word, options) && !readAttribute(word, options)) {
    options.parameters.push(word);
  }
}

function readPropagation(word: string, options: MountOptions): boolean {
  const recursive = word.startsWith("r") && Object.hasOwn(PROPAGATION, word.slice(1));
  const name = recursive ? word.slice(1) : word;
  if (!Object.hasOwn(PROPAGATION, name)) return false;
  options.propagation = { flag: PROPAGATION[name as keyof typeof PROPAGATION], recursive };
  return true;
}

function readAttribute(word: string, options: MountOptions): boolean {
  const known = (name: string) => Object.hasOwn(attributeWords, name) || Object.hasOwn(atimeWords, name);
  const recursive = !known(word) && word.startsWith("r") && known(word.slice(1));
  const name = recursive ? word.slice(1) : word;
  const target = recursive ? options.recursiveAttributes : options.attributes;
  const atime = Object.hasOwn(atimeWords, name) ? atimeWords[name] : undefined;
  if (atime !== undefined) {
    target.set = (target.set & ~MOUNT_ATTR.ATIME_MASK) | atime;
    target.clear |= MOUNT_ATTR.ATIME_MASK;
    return true;
  }
  const entry = Object.hasOwn(attributeWords, name) ? attributeWords[name] : undefined;
  if (entry === undefined) return false;
  const [attribute, on] = entry;
  if (on) {
    target.set |= attribute;
    target.clear &= ~attribute;
  } else {
    target.clear |= attribute;
    target.set &= ~attribute;
  }
  return true;
}

/** Every word with a meaning of its own; all others are parameters of the file system. */
export const MOUNT_OPTION_WORDS: readonly string[] = [
  "bind",
  "rbind",
  "tmpcopyup",
  "idmap",
  "ridmap",
  ...[...Object.keys(attributeWords), ...Object.keys(atimeWords), ...Object.keys(PROPAGATION)].flatMap(
    (word) => [word, `r${word}`],
  ),
];

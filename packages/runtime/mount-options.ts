/**
 * The option words of an OCI mount, sorted into what the kernel takes them as: attributes of the mount, propagation,
 * and parameters of the file system. Pure.
 */
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
  /** Change what is mounted at the destination already. */
  remount: boolean;
  /** Attributes to set and to clear; for atime, clearing the mask is what makes room for the new value. */
  attributes: { set: number; clear: number };
  /** The same for everything below ("rro", "rnosuid" …). */
  recursiveAttributes: { set: number; clear: number };
  /** In the order given: a slave that is then made shared is both. */
  propagation: { flag: number; recursive: boolean }[];
  /** Copy the content of what lies under a new tmpfs. */
  copyUp: boolean;
  /** Owners are mapped: of the mount itself, or of all that is mounted below as well. */
  idMap?: "mount" | "tree";
  /** Parameters for the file system: "size=64k", "newinstance", and the flags that every file system takes ("sync"). */
  parameters: string[];
  /** Flags that file systems know which have the choice, and that the others do without: "acl". */
  leniently: string[];
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
  noatime: MOUNT_ATTR.NOATIME,
  strictatime: MOUNT_ATTR.STRICTATIME,
};

/** Word → the choice that it takes back; the kernel's own is relatime. */
const atimeTakenBack: Record<string, number> = {
  norelatime: MOUNT_ATTR.RELATIME,
  atime: MOUNT_ATTR.NOATIME,
  nostrictatime: MOUNT_ATTR.STRICTATIME,
};

/** Flags of every file system, by the names fsconfig(2) has for them; what takes them away. */
const flagWords = ["sync", "dirsync", "lazytime", "mand"];
const flagsTakenBack: Record<string, string> = {
  async: "sync",
  nolazytime: "lazytime",
  nomand: "mand",
};

/** mount(2) takes these as flags, fsconfig(2) has only the parameters of the file systems that have the choice. */
const lenientWords: Record<string, string> = {
  acl: "acl",
  noacl: "noacl",
  iversion: "i_version",
  noiversion: "noi_version",
};

/** Words without an effect on what a container sees, accepted as other tools have them in such lists. */
const ignored = new Set([
  "defaults",
  "z",
  "Z",
  "cached",
  "delegated",
  "consistent",
  "nocopy",
  "silent",
  "loud",
  "copy-symlink",
]);

/** Sorts the words; a later word overrules an earlier one. Throws "invalid" for a contradiction. */
export function parseMountOptions(words: readonly string[]): MountOptions {
  const options: MountOptions = {
    bind: false,
    recursive: false,
    remount: false,
    attributes: { set: 0, clear: 0 },
    recursiveAttributes: { set: 0, clear: 0 },
    propagation: [],
    copyUp: false,
    parameters: [],
    leniently: [],
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
  } else if (word === "remount") {
    options.remount = true;
  } else if (word === "idmap" || word === "ridmap") {
    options.idMap = word === "idmap" ? "mount" : "tree";
  } else if (ignored.has(word) || word === "") {
    return;
  } else if (!readPropagation(word, options) && !readAttribute(word, options) && !readFlag(word, options)) {
    options.parameters.push(word);
  }
}

function readFlag(word: string, { parameters, leniently }: MountOptions): boolean {
  if (Object.hasOwn(lenientWords, word)) {
    leniently.push(lenientWords[word] ?? word);
    return true;
  }
  const back = Object.hasOwn(flagsTakenBack, word) ? flagsTakenBack[word] : undefined;
  if (back === undefined) return false;
  const at = parameters.indexOf(back);
  if (at >= 0) parameters.splice(at, 1);
  return true;
}

function readPropagation(word: string, options: MountOptions): boolean {
  const recursive = word.startsWith("r") && Object.hasOwn(PROPAGATION, word.slice(1));
  const name = recursive ? word.slice(1) : word;
  if (!Object.hasOwn(PROPAGATION, name)) return false;
  options.propagation.push({ flag: PROPAGATION[name as keyof typeof PROPAGATION], recursive });
  return true;
}

function readAttribute(word: string, options: MountOptions): boolean {
  const known = (name: string) =>
    [attributeWords, atimeWords, atimeTakenBack].some((words) => Object.hasOwn(words, name));
  const recursive = !known(word) && word.startsWith("r") && known(word.slice(1));
  const name = recursive ? word.slice(1) : word;
  const target = recursive ? options.recursiveAttributes : options.attributes;
  if (readAtime(name, target)) return true;
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

function readAtime(name: string, target: MountOptions["attributes"]): boolean {
  const choice = Object.hasOwn(atimeWords, name) ? atimeWords[name] : undefined;
  if (choice !== undefined) {
    target.set = (target.set & ~MOUNT_ATTR.ATIME_MASK) | choice;
    target.clear |= MOUNT_ATTR.ATIME_MASK;
    return true;
  }
  const back = Object.hasOwn(atimeTakenBack, name) ? atimeTakenBack[name] : undefined;
  if (back === undefined) return false;
  const chosen = (target.clear & MOUNT_ATTR.ATIME_MASK) !== 0;
  // Only "atime" says something by itself: a source that is noatime is to lose it.
  if (chosen ? (target.set & MOUNT_ATTR.ATIME_MASK) === back : name === "atime") {
    target.set &= ~MOUNT_ATTR.ATIME_MASK;
    target.clear |= MOUNT_ATTR.ATIME_MASK;
  }
  return true;
}

/** Every word with a meaning of its own; all others are parameters of the file system. */
export const MOUNT_OPTION_WORDS: readonly string[] = [
  "bind",
  "rbind",
  "defaults",
  "remount",
  "silent",
  "loud",
  "tmpcopyup",
  "idmap",
  "ridmap",
  ...flagWords,
  ...Object.keys(flagsTakenBack),
  ...Object.keys(lenientWords),
  ...[attributeWords, atimeWords, atimeTakenBack, PROPAGATION].flatMap((words) =>
    Object.keys(words).flatMap((word) => [word, `r${word}`]),
  ),
];

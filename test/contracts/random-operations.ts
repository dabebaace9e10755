/** Random operations on names: each can be done in any tree, and tells what it found. */
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  mknodat,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  renameat2,
  S_IFCHR,
  S_IFIFO,
} from "#kernel/file-syscalls.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import { getXattr, removeXattr, setXattr } from "#kernel/xattr-syscalls.ts";
import { LONGEST, type RandomChoice } from "#test/contracts/random-choice.ts";
import { truncatePath } from "#test/fixtures/file-calls.ts";

/** Where operations are done: a directory, and what is open of it (random-open-files.ts). */
export interface Tree {
  readonly path: string;
  readonly open: (OpenSlot | undefined)[];
}

export interface OpenSlot {
  fd: number;
  directory: boolean;
  mapping?: { read: (at: number, length: number) => Buffer; write: (at: number, data: Uint8Array) => void };
  close: () => void;
}

/** An operation that is decided. */
export interface Operation {
  text: string;
  /** Does it in the tree and answers what it found. */
  perform: (tree: Tree) => unknown;
  /** A path where something is afterwards. */
  makes?: string;
}

export type WeightedOperation = [weight: number, () => Operation];

export const attributeNames = ["user.one", "user.two", "trusted.three"];

/** What must be alike of one entry; sizes of directories, and how many they hold, are each file system's own. */
export function looks(status: Stats): string {
  const { mode, uid, gid, size, nlink } = status;
  const own = status.isDirectory() ? "" : ` ${size} ${nlink}`;
  return `${mode.toString(8)} ${uid}:${gid}${own}`;
}

export function nameOperations(random: RandomChoice, path: string): WeightedOperation[] {
  const other = random.path();
  const make = (text: string, perform: (path: string, other: string) => unknown, makes?: string) => ({
    text,
    perform: ({ path: tree }: Tree) => perform(join(tree, path), join(tree, other)),
    ...(makes === undefined ? {} : { makes }),
  });
  return [
    [12, () => make(`create ${path}`, (at) => closeSync(openSync(at, "wx", 0o644)), path)],
    [20, () => write(random, path)],
    [5, () => append(random, path)],
    [14, () => read(random, path)],
    [8, () => truncate(random, path)],
    [12, () => make(`rename ${path} ${other}`, renameSync, other)],
    [2, () => make(`rename ${path} to new ${other}`, renameBy(RENAME_NOREPLACE), other)],
    [2, () => make(`exchange ${path} ${other}`, renameBy(RENAME_EXCHANGE), other)],
    [7, () => make(`link ${path} ${other}`, linkSync, other)],
    [8, () => make(`unlink ${path}`, unlinkSync)],
    [14, () => make(`mkdir ${path}`, (at) => mkdirSync(at), path)],
    [4, () => make(`rmdir ${path}`, (at) => rmdirSync(at))],
    [1, () => make(`rm -r ${path}`, (at) => rmSync(at, { recursive: true }))],
    [4, () => symlink(random, path)],
    [1, () => make(`mkfifo ${path}`, (at) => mknodat(AT_FDCWD, at, S_IFIFO | 0o600), path)],
    [1, () => make(`mknod ${path}`, (at) => mknodat(AT_FDCWD, at, S_IFCHR | 0o600, 1, 7), path)],
    [2, () => make(`readlink ${path}`, (at) => readlinkSync(at))],
    [4, () => make(`readdir ${path}`, (at) => readdirSync(at).sort())],
    [4, () => make(`stat ${path}`, (at) => looks(statSync(at)))],
    [2, () => make(`one file ${path} ${other}`, (at, to) => lstatSync(at).ino === lstatSync(to).ino)],
    [2, () => make(`copy ${path} ${other}`, (at, to) => copyRegular(at, to), other)],
    [4, () => chmod(random, path)],
    [3, () => chown(random, path)],
    [3, () => utimes(random, path)],
    [6, () => xattr(random, path)],
  ];
}

function renameBy(flags: number) {
  return (from: string, to: string) => renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

/** Whoever opens a fifo waits for another. */
function regular(path: string): void {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status !== undefined && !status.isFile() && !status.isDirectory())
    throw Object.assign(new Error("special"), { code: "special" });
}

function copyRegular(from: string, to: string): void {
  regular(from);
  regular(to);
  copyFileSync(from, to);
}

function write(random: RandomChoice, path: string): Operation {
  const at = random.below(LONGEST);
  const data = random.data(random.below(4) === 0 ? random.below(65_536) : random.below(600));
  return {
    text: `write ${path} ${data.length} bytes at ${at}`,
    perform: (tree) => inFile(join(tree.path, path), "r+", (fd) => writeSync(fd, data, 0, data.length, at)),
  };
}

function append(random: RandomChoice, path: string): Operation {
  const data = random.data(random.below(5_000));
  return {
    text: `append ${path} ${data.length} bytes`,
    makes: path,
    perform: (tree) => {
      const file = join(tree.path, path);
      regular(file);
      // Not without end.
      if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) < LONGEST)
        appendFileSync(file, data, { mode: 0o640 });
    },
  };
}

function read(random: RandomChoice, path: string): Operation {
  const at = random.below(LONGEST);
  const out = Buffer.alloc(random.below(20_000));
  return {
    text: `read ${path} ${out.length} bytes at ${at}`,
    perform: (tree) =>
      inFile(join(tree.path, path), "r", (fd) => {
        const length = readSync(fd, out, 0, out.length, at);
        return out.subarray(0, length).toString("latin1");
      }),
  };
}

function truncate(random: RandomChoice, path: string): Operation {
  const size = random.below(3) === 0 ? 0 : random.below(LONGEST);
  const text = `truncate ${path} to ${size}`;
  if (random.below(2) === 0) {
    return { text, perform: (tree) => truncatePath(join(tree.path, path), size) };
  }
  return {
    text: `${text}, opened`,
    perform: (tree) => inFile(join(tree.path, path), "r+", (fd) => ftruncateSync(fd, size)),
  };
}

function symlink(random: RandomChoice, path: string): Operation {
  // Of the same directory: none leads out of the tree.
  const target = random.name();
  return {
    text: `symlink ${target} ${path}`,
    perform: (tree) => symlinkSync(target, join(tree.path, path)),
    makes: path,
  };
}

function chmod(random: RandomChoice, path: string): Operation {
  const mode = random.below(0o10000);
  return {
    text: `chmod ${mode.toString(8)} ${path}`,
    perform: (tree) => chmodSync(join(tree.path, path), mode),
  };
}

function chown(random: RandomChoice, path: string): Operation {
  const [uid, gid] = [random.below(3) * 1000, random.below(70_000)];
  const [text, call] = random.of([
    ["chown", chownSync],
    ["lchown", lchownSync],
  ] as const);
  return { text: `${text} ${uid}:${gid} ${path}`, perform: (tree) => call(join(tree.path, path), uid, gid) };
}

function utimes(random: RandomChoice, path: string): Operation {
  const time = 1_000_000_000 + random.below(1_000_000);
  const ofLink = random.below(3) === 0;
  return {
    text: `${ofLink ? "lutimes" : "utimes"} ${time} ${path}`,
    perform: (tree) => {
      const at = join(tree.path, path);
      if (ofLink) lutimesSync(at, time, time);
      else utimesSync(at, time, time);
      return (ofLink ? lstatSync : statSync)(at).mtimeMs;
    },
  };
}

function xattr(random: RandomChoice, path: string): Operation {
  const name = random.of(attributeNames);
  const value = random.data(1 + random.below(60));
  switch (random.below(3)) {
    case 0:
      return {
        text: `removexattr ${name} ${path}`,
        perform: (tree) => removeXattr(join(tree.path, path), name),
      };
    case 1:
      return {
        text: `getxattr ${name} ${path}`,
        perform: (tree) => getXattr(join(tree.path, path), name)?.toString("hex"),
      };
    default:
      return {
        text: `setxattr ${name} ${path}`,
        perform: (tree) => setXattr(join(tree.path, path), name, value),
      };
  }
}

function inFile(path: string, flags: string, perform: (fd: number) => unknown): unknown {
  regular(path);
  const fd = openSync(path, flags);
  try {
    return perform(fd);
  } finally {
    closeSync(fd);
  }
}

/** O_TMPFILE of open(2) with what it contains. */
export const O_TMPFILE: number = 0o20000000 | constants.O_DIRECTORY;

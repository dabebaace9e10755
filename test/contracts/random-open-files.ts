/**
 * Random operations on files that stay open, while others rename, link, cut and remove them: read, written, mapped, locked,
 * allocated, and given names when they have none.
 *
 * They are opened for writing: who has a file of a layer below open for reading alone may go on seeing what it was, with
 * overlayfs and with us.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { ERRNO } from "#kernel/errno.ts";
import { quickAllocate, quickCopyRange, quickLinkOpen, quickSeek } from "#kernel/fuse/quick-calls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { AT_FDCWD, SEEK_DATA, SEEK_HOLE } from "#kernel/syscalls.ts";
import { getXattr, removeXattr, setXattr } from "#kernel/xattr-syscalls.ts";
import { LONGEST, type RandomChoice } from "#test/contracts/random-choice.ts";
import {
  attributeNames,
  looks,
  O_TMPFILE,
  type OpenSlot,
  type Operation,
  type Tree,
  type WeightedOperation,
} from "#test/contracts/random-operations.ts";
import {
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  FileMapping,
  LOCK_EX,
  LOCK_SH,
  LOCK_UN,
  lockRange,
  lockWhole,
  MAP_PRIVATE,
  MAP_SHARED,
} from "#test/fixtures/file-calls.ts";

/** So few that several are of one file now and then, and their locks meet. */
const SLOTS = 5;

/** fallocate(2): what all file systems here can. */
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const FALLOC_FL_ZERO_RANGE = 16;
const allocations = [
  0,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_ZERO_RANGE,
  FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
];

export function openFileOperations(random: RandomChoice, path: string): WeightedOperation[] {
  const slot = random.below(SLOTS);
  const at = random.below(LONGEST);
  const file = (text: string, perform: (fd: number, held: OpenSlot) => unknown): Operation => ({
    text: `#${slot} ${text}`,
    perform: (tree) => {
      const held = tree.open[slot];
      if (held === undefined || held.directory) return "not open";
      return perform(held.fd, held);
    },
  });
  const opened = (text: string, open: (tree: Tree) => OpenSlot, makes?: string): Operation => ({
    text: `#${slot} ${text}`,
    perform: (tree) => {
      const held = open(tree);
      close(tree, slot);
      tree.open[slot] = held;
      return undefined;
    },
    ...(makes === undefined ? {} : { makes }),
  });
  return [
    [20, () => opened(`open ${path}`, (tree) => openFile(join(tree.path, path), 0))],
    [
      3,
      () => opened(`open ${path} to append`, (tree) => openFile(join(tree.path, path), constants.O_APPEND)),
    ],
    [3, () => opened(`open ${path} anew`, (tree) => openFile(join(tree.path, path), constants.O_TRUNC))],
    [3, () => opened(`create ${path}`, (tree) => openFile(join(tree.path, path), constants.O_CREAT), path)],
    [6, () => openAgain(random, opened)],
    [4, () => opened(`open nameless in ${path}`, (tree) => openFile(join(tree.path, path), O_TMPFILE))],
    [8, () => opened(`open directory ${path}`, (tree) => openDirectory(join(tree.path, path)))],
    [5, () => name(slot, path)],
    [3, () => inDirectory(random, slot)],
    [10, () => writeAt(random, file, at)],
    [8, () => readAt(random, file, at)],
    [4, () => file(`truncate to ${at}`, (fd) => ftruncateSync(fd, at))],
    [4, () => file("stat", (fd) => looks(fstatSync(fd)))],
    [
      3,
      () => ({
        text: `#${slot} is ${path}`,
        perform: (tree) => {
          const held = tree.open[slot];
          return held !== undefined && fstatSync(held.fd).ino === lstatSync(join(tree.path, path)).ino;
        },
      }),
    ],
    [6, () => allocate(random, file, at)],
    [3, () => copyRange(random, slot, at)],
    [10, () => map(random, file, at)],
    [3, () => file("data and holes", dataAndHoles)],
    [8, () => lock(random, file)],
    [2, () => changeOpen(random, file)],
    // Seldom: each waits for the disk.
    [at % 4 === 0 ? 1 : 0, () => file("sync", (fd) => (at % 8 === 0 ? fsyncSync(fd) : fdatasyncSync(fd)))],
  ];
}

type OnFile = (text: string, perform: (fd: number, held: OpenSlot) => unknown) => Operation;

/** Closes what the tree has open. */
export function closeAll(tree: Tree): void {
  for (let slot = 0; slot < SLOTS; slot++) close(tree, slot);
}

function close(tree: Tree, slot: number): void {
  tree.open[slot]?.close();
  tree.open[slot] = undefined;
}

function openFile(path: string, flags: number): OpenSlot {
  // Who opens a fifo waits for nobody.
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK | flags, 0o640);
  if (!fstatSync(fd).isFile()) {
    closeSync(fd);
    throw new SyscallError("open", ERRNO.EINVAL, [path]);
  }
  let mapping: FileMapping | undefined;
  return {
    fd,
    directory: false,
    get mapping() {
      mapping ??= new FileMapping(fd, 2 * LONGEST, MAP_SHARED);
      return mapping;
    },
    close: () => {
      mapping?.[Symbol.dispose]();
      closeSync(fd);
    },
  };
}

/** Once more what is open already, also if it has no name any more. */
function openAgain(
  random: RandomChoice,
  opened: (text: string, open: (tree: Tree) => OpenSlot) => Operation,
) {
  const other = random.below(SLOTS);
  return opened(`open #${other} again`, ({ open }) => {
    const held = open[other];
    if (held === undefined || held.directory) throw new SyscallError("open", ERRNO.EBADF, []);
    return openFile(`/proc/self/fd/${held.fd}`, 0);
  });
}

function openDirectory(path: string): OpenSlot {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  return { fd, directory: true, close: () => closeSync(fd) };
}

/** Gives what is open a name: allowed for what never had one, and for what has one. */
function name(slot: number, path: string): Operation {
  return {
    text: `#${slot} link as ${path}`,
    makes: path,
    perform: (tree) => {
      const held = tree.open[slot];
      if (held === undefined) return "not open";
      const result = quickLinkOpen(held.fd, AT_FDCWD, join(tree.path, path));
      if (result < 0) throw new SyscallError("linkat", -result, [path]);
      return undefined;
    },
  };
}

/** In a directory that is open, and perhaps gone. */
function inDirectory(random: RandomChoice, slot: number): Operation {
  const inside = random.name();
  const makes = random.below(2) === 0;
  return {
    text: `#${slot} ${makes ? `mkdir ${inside}` : "readdir"}`,
    perform: (tree) => {
      const held = tree.open[slot];
      if (held?.directory !== true) return "not open";
      const path = `/proc/self/fd/${held.fd}`;
      if (makes) mkdirSync(join(path, inside));
      else if (fstatSync(held.fd).nlink > 0) return readdirSync(path).sort();
      return undefined;
    },
  };
}

function writeAt(random: RandomChoice, file: OnFile, at: number): Operation {
  const data = random.data(random.below(8_000));
  return file(`write ${data.length} bytes at ${at}`, (fd) => {
    // What appends does so wherever it is told to write, though not without end.
    if (fstatSync(fd).size > 2 * LONGEST - data.length) return "full";
    return writeSync(fd, data, 0, data.length, at);
  });
}

function readAt(random: RandomChoice, file: OnFile, at: number): Operation {
  const out = Buffer.alloc(random.below(20_000));
  return file(`read ${out.length} bytes at ${at}`, (fd) => {
    const length = readSync(fd, out, 0, out.length, at);
    return out.subarray(0, length).toString("latin1");
  });
}

function allocate(random: RandomChoice, file: OnFile, at: number): Operation {
  const mode = random.of(allocations);
  const length = 1 + random.below(LONGEST);
  return file(`fallocate ${mode}, ${length} bytes at ${at}`, (fd) => {
    const result = quickAllocate(fd, mode, at, length);
    if (result < 0) throw new SyscallError("fallocate", -result, []);
    return fstatSync(fd).size;
  });
}

function copyRange(random: RandomChoice, slot: number, at: number): Operation {
  const target = random.below(SLOTS);
  const to = random.below(LONGEST);
  const length = 1 + random.below(50_000);
  return {
    text: `copy ${length} bytes at ${at} of #${slot} to #${target} at ${to}`,
    perform: ({ open }) => {
      const [from, into] = [open[slot], open[target]];
      if (from === undefined || into === undefined) return "not open";
      const result = quickCopyRange(from.fd, at, into.fd, to, length);
      if (result < 0) throw new SyscallError("copy_file_range", -result, []);
      return result;
    },
  };
}

/** Reads and writes pages, of all who share them or of a copy. */
function map(random: RandomChoice, file: OnFile, at: number): Operation {
  const data = random.data(1 + random.below(5_000));
  const what = random.of(["write", "write", "read", "private"] as const);
  return file(`${what} ${data.length} mapped bytes at ${at}`, (fd, { mapping }) => {
    const { size } = fstatSync(fd);
    const begin = Math.min(at, Math.max(0, size - data.length));
    const part = data.subarray(0, Math.max(0, size - begin));
    if (size === 0 || mapping === undefined) return "empty";
    if (what === "read") return mapping.read(begin, part.length).toString("latin1");
    if (what === "write") return mapping.write(begin, part);
    using own = new FileMapping(fd, size, MAP_PRIVATE);
    own.write(begin, part);
    return [own.read(begin, part.length), mapping.read(begin, part.length)].map(String);
  });
}

/** Where a file says that it has a hole there are zeroes, and the holes are within it. */
function dataAndHoles(fd: number): unknown {
  const { size } = fstatSync(fd);
  const whole = Buffer.alloc(size);
  readSync(fd, whole, 0, size, 0);
  for (let end = 0; ; ) {
    const begin = quickSeek(fd, end, SEEK_DATA);
    if (begin < 0 && begin !== -ERRNO.ENXIO) throw new SyscallError("lseek", -begin, []);
    const hole = whole.subarray(end, begin < 0 ? size : begin);
    if (hole.some((byte) => byte !== 0)) return `data in a hole from ${end}`;
    if (begin < 0) return size;
    end = quickSeek(fd, begin, SEEK_HOLE);
    if (end <= begin || end > size) return `a hole at ${end} after data at ${begin} of ${size}`;
  }
}

function lock(random: RandomChoice, file: OnFile): Operation {
  if (random.below(2) === 0) {
    const operation = random.of([LOCK_SH, LOCK_EX, LOCK_UN, LOCK_UN]);
    return file(`flock ${operation}`, (fd) => lockWhole(fd, operation));
  }
  const type = random.of([F_RDLCK, F_WRLCK, F_UNLCK, F_UNLCK]);
  const [start, length] = [random.below(10), random.below(10)];
  return file(`lock ${type} of ${length} bytes at ${start}`, (fd) => lockRange(fd, type, start, length));
}

function changeOpen(random: RandomChoice, file: OnFile): Operation {
  const number = random.below(0o10000);
  const attribute = random.of(attributeNames);
  const [text, change] = random.of<[string, (fd: number) => unknown]>([
    ["fchmod", (fd) => fchmodSync(fd, number)],
    ["fchown", (fd) => fchownSync(fd, number, number + 1)],
    ["futimes", (fd) => futimesSync(fd, number, number)],
    ["fsetxattr", (fd) => setXattr(fd, attribute, Buffer.from(String(number)))],
    ["fremovexattr", (fd) => removeXattr(fd, attribute)],
    ["fgetxattr", (fd) => getXattr(fd, attribute)?.toString("hex")],
  ]);
  return file(`${text} ${number.toString(8)} ${attribute}`, change);
}

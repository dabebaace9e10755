/**
 * `tmpcopyup`: a new tmpfs begins with a copy of what lies below it. Pure.
 *
 * The walk is done by instructions: directories are read one entry at a time (getdents64 with room for a few, then a seek
 * to right after the first), and each is copied by a process forked for it, which is how programs recurse. Nothing is
 * opened but by single names without following links, so what an image or a volume puts there leads nowhere else. No
 * device is opened. What has no owner in this user namespace keeps ours.
 */
import { ANY_ERRNO, type DataRef, type Register } from "#program/types.ts";
import {
  AT_EMPTY_PATH,
  AT_SYMLINK_NOFOLLOW,
  ERRNO,
  type StatLayout,
} from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";

/** struct linux_dirent64: what comes before the name, and the longest name with its NUL, aligned. */
const DIRENT = { next: 8, name: 19, size: 280 } as const;
const SEEK_SET = 0;
const SEEK_CUR = 1;
/** The most that sendfile(2) moves at once. */
const SENDFILE_MAX = 0x7fff_f000;
const PATH_MAX = 4096;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const EXIT_FAILED = 125;

/** What one entry is copied with. */
interface Walk {
  from: Register;
  to: Register;
  /** The entry's name, in the room that getdents64 fills. */
  name: DataRef;
  /** The entry's struct stat. */
  status: DataRef;
  layout: StatLayout;
  why: string;
}

/** Copies the content of directory `from` into directory `to`; either may be open as a mere place (O_PATH). */
export function copyTree(
  w: ProgramWriter,
  from: Register,
  to: Register,
  options: { why: string; layout: StatLayout },
): void {
  const { b, O } = w;
  const { why, layout } = options;
  const room = b.scratch(DIRENT.size, 8);
  const walk: Walk = {
    from: b.register("copied directory"),
    to: b.register("copy"),
    name: b.slice(room, DIRENT.name),
    status: b.scratch(layout.size, 8),
    layout,
    why,
  };
  const flags = O.DIRECTORY | O.CLOEXEC;
  b.sys("openat", [from, b.cstr("."), flags, 0], { into: walk.from, why });
  b.sys("openat", [to, b.cstr("."), flags, 0], { into: walk.to, why });
  const next = b.label("the next entry");
  const done = b.label("a directory is copied");
  const after = b.label("all is copied");
  const child = b.register("copied by a child");
  b.set(child, 0, why);
  b.place(next);
  w.borrow((count) => {
    const some = b.label("there is an entry");
    b.sys("getdents64", [walk.from, room, DIRENT.size], { into: count, why });
    b.jumpIfNotZero(count, some);
    b.jump(done);
    b.place(some);
    b.load(count, b.slice(room, DIRENT.next, 8), 8);
    b.sys("lseek", [walk.from, count, SEEK_SET], { why });
  });
  copyEntry(w, walk, { next, child });
  b.jump(next);
  b.place(done);
  w.close(walk.from);
  w.close(walk.to);
  const mine = b.label("the copy is mine");
  b.jumpIfNotZero(child, mine);
  b.jump(after);
  b.place(mine);
  b.exit(0);
  b.place(after);
}

type Next = { next: ReturnType<ProgramWriter["b"]["label"]>; child: Register };

function copyEntry(w: ProgramWriter, walk: Walk, { next, child }: Next): void {
  const { b, O } = w;
  const { from, to, name, status, layout, why } = walk;
  const attributes = b.label("owner and mode of a copy");
  const notDirectory = b.label("it is no directory");
  const field = (at: number) => b.slice(status, at, 4);
  b.sys("newfstatat", [from, name, status, AT_SYMLINK_NOFOLLOW], { why });
  w.borrow((mode) => {
    b.load(mode, field(layout.mode), 4);
    w.borrow((inner) => {
      const flags = O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
      b.sys("openat", [from, name, flags, 0], { into: inner, ignore: ANY_ERRNO, why });
      b.jumpIfNegative(inner, notDirectory);
      copyDirectory(w, walk, { inner, mode, next, child });
      w.close(inner);
      b.jump(attributes);
      b.place(notDirectory);
    });
    copyLinkOrFile(w, walk, mode, next);
    b.place(attributes);
    w.borrow((uid) => {
      w.borrow((gid) => {
        b.load(uid, field(layout.uid), 4);
        b.load(gid, field(layout.gid), 4);
        const args = [to, name, uid, gid, AT_SYMLINK_NOFOLLOW];
        b.sys("fchownat", args, { ignore: ERRNO.EINVAL, why: `${why}: owner` });
      });
    });
    b.sys("fchmodat", [to, name, mode], { why: `${why}: mode` });
  });
  const times = b.slice(status, layout.times, 32);
  b.sys("utimensat", [to, name, times, AT_SYMLINK_NOFOLLOW], { why: `${why}: times` });
}

/** `.` and `..` are there already, everything else is not. */
function copyDirectory(
  w: ProgramWriter,
  { to, from, name, why }: Walk,
  { inner, mode, next, child }: Next & { inner: Register; mode: Register },
): void {
  const { b, O } = w;
  const fresh = b.label("it is a new directory");
  const exists = b.label("it is . or ..");
  const entered = b.label("copy a directory in it");
  const past = b.label("the directory in it is copied");
  w.borrow((made) => {
    b.sys("mkdirat", [to, name, mode], { into: made, ignore: ERRNO.EEXIST, why });
    b.jumpIfNegative(made, exists);
    b.jump(fresh);
    b.place(exists);
    w.close(inner);
    b.jump(next);
    b.place(fresh);
    b.fork({ flags: 0, into: made, child: entered, why });
    b.supervise(made, made);
    const bad = b.label("a copy has failed");
    b.jumpIfNotZero(made, bad);
    b.jump(past);
    // It has reported why.
    b.place(bad);
    b.exit(EXIT_FAILED);
    b.place(entered);
    b.set(child, 1, why);
    w.close(from);
    b.set(from, inner, why);
    const flags = O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
    b.sys("openat", [to, name, flags, 0], { into: made, why });
    w.close(to);
    b.set(to, made, why);
    b.jump(next);
    b.place(past);
  });
}

/** Whatever is made here without a link's target gets its attributes next; a link's has none but its times. */
function copyLinkOrFile(w: ProgramWriter, walk: Walk, mode: Register, next: Next["next"]): void {
  const { b } = w;
  const { from, to, name, status, layout, why } = walk;
  const notLink = b.label("it is no link");
  w.borrow((target) => {
    // Fresh pages end the text that readlinkat leaves open.
    const map = [0, PATH_MAX * 2, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0];
    b.sys("mmap", map, { into: target, why });
    w.borrow((length) => {
      b.sys("readlinkat", [from, name, target, PATH_MAX - 1], { into: length, ignore: ERRNO.EINVAL, why });
      b.jumpIfNegative(length, notLink);
      b.sys("symlinkat", [target, to, name], { why });
      w.borrow((uid) => {
        b.load(uid, b.slice(status, layout.uid, 4), 4);
        b.load(length, b.slice(status, layout.gid, 4), 4);
        const args = [to, name, uid, length, AT_SYMLINK_NOFOLLOW];
        b.sys("fchownat", args, { ignore: ERRNO.EINVAL, why: `${why}: owner` });
      });
      b.sys("munmap", [target, PATH_MAX * 2], { why });
      const times = b.slice(status, layout.times, 32);
      b.sys("utimensat", [to, name, times, AT_SYMLINK_NOFOLLOW], { why: `${why}: times` });
      b.jump(next);
      b.place(notLink);
    });
    b.sys("munmap", [target, PATH_MAX * 2], { why });
  });
  copyFile(w, walk, mode);
}

function copyFile(w: ProgramWriter, { from, to, name, status, layout, why }: Walk, mode: Register): void {
  const { b, O } = w;
  const special = b.label("it is no regular file");
  const opened = b.label("it is a pipe");
  const made = b.label("a file is copied");
  w.borrow((device) => {
    b.load(device, b.slice(status, layout.rdev, 8), 8);
    b.jumpIfNotZero(device, special);
    w.borrow((input) => {
      // A socket cannot be opened (ENXIO), a pipe can, and has no position.
      const flags = O.NOFOLLOW | O.NONBLOCK | O.NOCTTY | O.CLOEXEC;
      b.sys("openat", [from, name, flags, 0], { into: input, ignore: ERRNO.ENXIO, why });
      b.jumpIfNegative(input, special);
      w.borrow((output) => {
        b.sys("lseek", [input, 0, SEEK_CUR], { into: output, ignore: ERRNO.ESPIPE, why });
        b.jumpIfNegative(output, opened);
        const create = O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC;
        b.sys("openat", [to, name, create, 0o600], { into: output, why });
        w.borrow((count) => {
          const more = b.label("more of a file");
          b.place(more);
          b.sys("sendfile", [output, input, 0, SENDFILE_MAX], { into: count, why });
          b.jumpIfNotZero(count, more);
        });
        w.close(output);
        w.close(input);
        b.jump(made);
      });
      b.place(opened);
      w.close(input);
    });
    b.place(special);
    b.sys("mknodat", [to, name, mode, device], { why });
    b.place(made);
  });
}

/** The status of the directory that is going to be covered; that of a world-writable one if there is none yet. */
export function lookBelow(
  w: ProgramWriter,
  place: { from: Register; path: string; resolve: number },
  layout: StatLayout,
  why: string,
): DataRef {
  const { b, O } = w;
  const { from, path, resolve } = place;
  const status = b.scratch(layout.size, 8);
  const missing = b.label("it is not there");
  const known = b.label("it is looked at");
  w.borrow((directory) => {
    const flags = O.PATH | O.DIRECTORY;
    w.openUnder(from, path, { flags, resolve, into: directory, ignore: ERRNO.ENOENT, why });
    b.jumpIfNegative(directory, missing);
    b.sys("newfstatat", [directory, b.cstr(""), status, AT_EMPTY_PATH], { why });
    w.close(directory);
    b.jump(known);
    b.place(missing);
    b.set(directory, USUAL_MODE, why);
    b.store(directory, b.slice(status, layout.mode, 4), 4);
    b.place(known);
  });
  return status;
}

/** What a tmpfs has if nothing is said. */
const USUAL_MODE = 0o1777;

/** Mode, or owner too, of what was looked at, for the root of the file system that covers it. */
export function takeOver(
  w: ProgramWriter,
  status: DataRef,
  mount: Register,
  options: { layout: StatLayout; mode: boolean; owner: boolean; why: string },
): void {
  const { b } = w;
  const { layout, why } = options;
  w.borrow((value) => {
    if (options.owner) {
      w.borrow((gid) => {
        b.load(value, b.slice(status, layout.uid, 4), 4);
        b.load(gid, b.slice(status, layout.gid, 4), 4);
        const args = [mount, b.cstr(""), value, gid, AT_EMPTY_PATH];
        b.sys("fchownat", args, { ignore: ERRNO.EINVAL, why: `${why}: owner` });
      });
    }
    if (options.mode) {
      b.load(value, b.slice(status, layout.mode, 4), 4);
      b.sys("fchmodat", [mount, b.cstr("."), value], { why: `${why}: mode` });
    }
  });
}

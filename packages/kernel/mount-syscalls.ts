/**
 * Mounting, with the old call and with the descriptor-based ones.
 *
 * Containers' mounts are made by the launcher in their own namespaces; these serve probing, volumes and tests on the
 * host. Whoever mounts here owns the unmount.
 */
import { ERRNO } from "#kernel/errno.ts";
import { fail, inThread, lastErrno, libcFunction, SYS } from "#kernel/libc.ts";
import { encodePath } from "#kernel/path-bytes.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { O_CLOEXEC, read } from "#kernel/syscalls.ts";

/** mount(2) flags, linux/mount.h. */
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_REMOUNT = 32;
export const MS_BIND = 4096;
export const MS_MOVE = 8192;
export const MS_REC = 16384;
export const MS_UNBINDABLE = 1 << 17;
export const MS_PRIVATE = 1 << 18;
export const MS_SLAVE = 1 << 19;
export const MS_SHARED = 1 << 20;

export const MNT_FORCE = 1;
export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

export const FSOPEN_CLOEXEC = 1;
export const FSMOUNT_CLOEXEC = 1;
export const OPEN_TREE_CLONE = 1;
export const OPEN_TREE_CLOEXEC = O_CLOEXEC;
export const MOVE_MOUNT_F_EMPTY_PATH = 0x04;
export const MOVE_MOUNT_T_EMPTY_PATH = 0x40;

/** mount attributes of fsmount and mount_setattr. */
export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOEXEC = 0x8;
export const MOUNT_ATTR_NOATIME = 0x10;
export const MOUNT_ATTR__ATIME = 0x70;
export const MOUNT_ATTR_IDMAP = 0x100000;

const cMount = libcFunction(
  "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
);
const cUmount2 = libcFunction("int umount2(const char *target, int flags)");
const cFsopen = libcFunction("long syscall(long nr, const char *type, unsigned long flags)");
const cFsconfig = libcFunction(
  "long syscall(long nr, long fd, unsigned long command, const char *key, const char *value, long aux)",
);
const cFsmount = libcFunction(
  "long syscall(long nr, long fd, unsigned long flags, unsigned long attributes)",
);
const cMoveMount = libcFunction(
  "long syscall(long nr, long from, const char *fromPath, long to, const char *toPath, unsigned long flags)",
);
const cOpenTree = libcFunction("long syscall(long nr, long dir, const char *path, unsigned long flags)");
const cMountSetattr = libcFunction(
  "long syscall(long nr, long dir, const char *path, unsigned long flags, void *attributes, long size)",
);

export function mount(source: string, target: string, type: string, flags = 0, data = ""): void {
  if (cMount(encodePath(source), encodePath(target), type, flags, encodePath(data)) < 0) {
    fail("mount", [source, target, type, flags, data]);
  }
}

export function umount2(target: string, flags = 0): void {
  if (cUmount2(encodePath(target), flags) < 0) fail("umount2", [target, flags]);
}

/** The same in a thread: for file systems that read a journal first. */
export async function mountSlowly(
  source: string,
  target: string,
  type: string,
  flags = 0,
  data = "",
): Promise<void> {
  const args = [encodePath(source), encodePath(target), type, flags, encodePath(data)];
  await inThread(cMount, "mount", args, [source, target, type, flags, data]);
}

/** The same in a thread: for file systems that write everything back first. */
export async function unmountSlowly(target: string, flags = 0): Promise<void> {
  await inThread(cUmount2, "umount2", [encodePath(target), flags], [target, flags]);
}

/** Begins the configuration of a new file system instance; close-on-exec. */
export function fsopen(type: string): number {
  const fd = cFsopen(SYS.fsopen, type, FSOPEN_CLOEXEC);
  if (fd < 0) fail("fsopen", [type]);
  return fd;
}

const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_SET_FD = 5;
const FSCONFIG_CMD_CREATE = 6;

/** Sets a parameter: a flag without a value, a string, or a descriptor. Failures carry the file system's own message. */
export function fsconfigSet(fd: number, key: string, value?: string | number): void {
  const result =
    value === undefined
      ? cFsconfig(SYS.fsconfig, fd, FSCONFIG_SET_FLAG, key, null, 0)
      : typeof value === "number"
        ? cFsconfig(SYS.fsconfig, fd, FSCONFIG_SET_FD, key, null, value)
        : cFsconfig(SYS.fsconfig, fd, FSCONFIG_SET_STRING, key, encodePath(value), 0);
  if (result < 0) failWithLog("fsconfig", fd, [key, value ?? ""]);
}

/** Makes the instance that was configured. */
export function fsconfigCreate(fd: number): void {
  if (cFsconfig(SYS.fsconfig, fd, FSCONFIG_CMD_CREATE, null, null, 0) < 0) {
    failWithLog("fsconfig", fd, ["create"]);
  }
}

/** A detached mount of the instance; close-on-exec. */
export function fsmount(fd: number, attributes = 0): number {
  const result = cFsmount(SYS.fsmount, fd, FSMOUNT_CLOEXEC, attributes);
  if (result < 0) failWithLog("fsmount", fd, [attributes]);
  return result;
}

/** Attaches a detached mount (path "" and MOVE_MOUNT_F_EMPTY_PATH), or moves one. */
export function moveMount(from: number, fromPath: string, to: number, toPath: string, flags: number): void {
  if (cMoveMount(SYS.move_mount, from, encodePath(fromPath), to, encodePath(toPath), flags) < 0) {
    fail("move_mount", [from, fromPath, to, toPath, flags]);
  }
}

/** A descriptor of a mount, or with OPEN_TREE_CLONE of a detached copy of it; close-on-exec. */
export function openTree(directory: number, path: string, flags: number): number {
  const fd = cOpenTree(SYS.open_tree, directory, encodePath(path), flags | OPEN_TREE_CLOEXEC);
  if (fd < 0) fail("open_tree", [directory, path, flags]);
  return fd;
}

/** `struct mount_attr`: attributes to set, to clear, propagation, user namespace; 64 bits each. */
export function encodeMountAttributes(
  set: number,
  clear: number,
  propagation: number,
  userns: number,
): Buffer {
  const bytes = Buffer.alloc(32);
  for (const [index, value] of [set, clear, propagation, userns].entries()) {
    bytes.writeBigUInt64LE(BigInt(value), 8 * index);
  }
  return bytes;
}

/** Changes attributes of a mount; `attributes` from encodeMountAttributes. */
export function mountSetattr(directory: number, path: string, flags: number, attributes: Buffer): void {
  const result = cMountSetattr(
    SYS.mount_setattr,
    directory,
    encodePath(path),
    flags,
    attributes,
    attributes.length,
  );
  if (result < 0) fail("mount_setattr", [directory, path, flags]);
}

/** Adds what the file system context says ("e overlay: …"), which mount(2) would only have put into the kernel log. */
function failWithLog(call: string, fd: number, args: (string | number)[]): never {
  const errno = lastErrno();
  const messages: string[] = [];
  const buffer = Buffer.alloc(1024);
  try {
    for (let i = 0; i < 16; i++) messages.push(buffer.toString("utf8", 0, read(fd, buffer)).trim());
  } catch (error) {
    // ENODATA ends the log.
    if (!(error instanceof SyscallError) || error.errno !== ERRNO.ENODATA) throw error;
  }
  throw new SyscallError(call, errno, [...args, ...messages]);
}

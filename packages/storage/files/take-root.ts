/**
 * Puts a container's root together for work on its files: the root file system, its volumes and binds, and nothing else
 * (no /proc, no /dev). Of a running container the mounts are those it has, of a stopped one they are made anew.
 *
 * All mounting happens in a private mount namespace of the worker thread; the host's table stays as it is. `takeRoot`
 * gives a descriptor of a detached copy, which is the owner of those mounts: closed, they are gone.
 */
import { BerthError } from "#errors/errors.ts";
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstat, S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import {
  encodeMountAttributes,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  mount,
  mountSetattr,
  moveMount,
  OPEN_TREE_CLONE,
  openTree,
} from "#kernel/mount-syscalls.ts";
import { isProcessAlive } from "#kernel/process-status.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  open,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  tryOpenat2,
} from "#kernel/syscalls.ts";
import { changeDirectory, enterMountsOf, enterPrivateMounts } from "#kernel/thread-mounts.ts";
import type { RootMount, RootRequest } from "#storage/files/root-types.ts";

/** open_tree: with everything mounted below; linux/fcntl.h. */
const AT_RECURSIVE = 0x8000;
const insideRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/** A descriptor of the whole root (O_PATH), usable by any thread for as long as it is open. */
export function takeRoot(request: RootRequest): FileDescriptor {
  using assembled = assembleRoot(request);
  return cloneTree(assembled.root.descriptor, "", true);
}

/** The root inside this thread's own mount namespace; until disposed the thread stays there. */
export function assembleRoot(request: RootRequest): { root: RootDirectory } & Disposable {
  const taken = request.running === undefined ? undefined : takeFromProcess(request, request.running);
  const stack = new DisposableStack();
  try {
    if (taken !== undefined) stack.use(taken);
    stack.use(enterPrivateMounts());
    const place = mountRoot(request, taken?.root);
    const root = stack.use(new RootDirectory(place));
    for (const [index, wanted] of request.mounts.entries()) {
      using tree = taken === undefined ? openSource(wanted) : taken.mounts[index];
      if (tree === undefined) continue;
      attach(root, wanted, tree, taken === undefined);
    }
    if (request.readOnly) setReadOnly(root.descriptor);
    const disposal = stack.move();
    return { root, [Symbol.dispose]: () => disposal.dispose() };
  } catch (error) {
    stack.dispose();
    throw error;
  }
}

interface Taken extends Disposable {
  root: FileDescriptor;
  /** In the order of the request; undefined where nothing is there any more. */
  mounts: (FileDescriptor | undefined)[];
}

/** Copies of a running container's own mounts, taken in its namespace: by descriptors alone, its /proc is not ours. */
function takeFromProcess(
  request: RootRequest,
  { pid, startTicks }: { pid: number; startTicks: string },
): Taken {
  using namespace = openNamespace(pid, startTicks);
  const stack = new DisposableStack();
  try {
    using _away = enterMountsOf(namespace.number);
    const root = stack.use(cloneTree(AT_FDCWD, "/", false));
    using inside = new FileDescriptor(open("/", O_PATH | O_DIRECTORY));
    const mounts = request.mounts.map(({ destination, recursive }) => {
      const fd = tryOpenat2(inside.number, destination, O_PATH, 0, insideRoot);
      if (fd < 0) return undefined;
      using there = new FileDescriptor(fd);
      return stack.use(cloneTree(there.number, "", recursive));
    });
    const disposal = stack.move();
    return { root, mounts, [Symbol.dispose]: () => disposal.dispose() };
  } catch (error) {
    stack.dispose();
    throw error;
  }
}

function openNamespace(pid: number, startTicks: string): FileDescriptor {
  try {
    using namespace = new FileDescriptor(open(`/proc/${pid}/ns/mnt`, O_RDONLY));
    // Still the same process: so the namespace is its own, too.
    if (isProcessAlive(pid, startTicks)) return new FileDescriptor(namespace.release());
  } catch {
    // It has ended.
  }
  throw new BerthError("conflict", "the container ended meanwhile", {
    operation: "open container root",
    hint: "Try again.",
  });
}

/** Mounts the root file system where nobody but this thread sees it, and tells where. */
function mountRoot({ rootfs }: RootRequest, taken: FileDescriptor | undefined): string {
  const place = rootfs.kind === "overlay" ? `${rootfs.base}/${rootfs.merged}` : rootfs.path;
  if (taken === undefined && rootfs.kind === "overlay") {
    // The lower names are relative, so that many of them fit the page mount(2) takes.
    changeDirectory(rootfs.base);
    const data = [
      `lowerdir=${rootfs.lower.join(":")}`,
      `upperdir=${rootfs.upper}`,
      `workdir=${rootfs.work}`,
      ...rootfs.options,
    ];
    mount("overlay", place, "overlay", 0, data.join(","));
    return place;
  }
  using tree = taken === undefined ? cloneTree(AT_FDCWD, place, false) : undefined;
  using target = new FileDescriptor(open(place, O_PATH | O_DIRECTORY));
  move((taken ?? (tree as FileDescriptor)).number, target.number);
  return place;
}

/** A copy of what is mounted from the host; undefined if it may be left out and is not there. */
function openSource({ source, subpath, recursive, optional }: RootMount): FileDescriptor | undefined {
  const fd = tryOpenat2(AT_FDCWD, source, O_PATH, 0, 0);
  if (fd === -ERRNO.ENOENT && optional) return undefined;
  using whole = new FileDescriptor(fd < 0 ? open(source, O_PATH) : fd);
  if (subpath === "") return cloneTree(whole.number, "", recursive);
  using part = new FileDescriptor(openat2(whole.number, subpath, O_PATH, 0, insideRoot));
  return cloneTree(part.number, "", recursive);
}

/** Mounts a tree inside the root. `make`: its mount point, where it is missing, as a start of the container would. */
function attach(root: RootDirectory, wanted: RootMount, tree: FileDescriptor, make: boolean): void {
  using existing = root.openIfExists(wanted.destination, O_PATH);
  if (existing === undefined && !make) return;
  using target = existing ?? makeMountPoint(root, wanted.destination, tree);
  if (wanted.readOnly) setReadOnly(tree.number);
  try {
    move(tree.number, target.number);
  } catch (error) {
    if (make || !isErrno(error, "ENOENT")) throw error;
    // What a running container has mounted was deleted on the host and cannot be mounted again. Nothing may be written to
    // what is below it, which the container doesn't see.
    using below = cloneTree(target.number, "", false);
    setReadOnly(below.number);
    move(below.number, target.number);
  }
}

function makeMountPoint(root: RootDirectory, path: string, tree: FileDescriptor): FileDescriptor {
  if ((fstat(tree.number).mode & S_IFMT) === S_IFDIR) return root.mkdirAll(path, 0o755);
  const parent = path.slice(0, path.lastIndexOf("/"));
  root.mkdirAll(parent, 0o755).close();
  root.createFile(path, Buffer.alloc(0), 0o755);
  return root.open(path, O_PATH);
}

function move(tree: number, target: number): void {
  moveMount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

function setReadOnly(fd: number): void {
  mountSetattr(fd, "", AT_EMPTY_PATH, encodeMountAttributes(MOUNT_ATTR_RDONLY, 0, 0, 0));
}

/** A detached copy of the mount at a path, or at a descriptor for "". */
function cloneTree(directory: number, path: string, recursive: boolean): FileDescriptor {
  const flags = OPEN_TREE_CLONE | (path === "" ? AT_EMPTY_PATH : 0) | (recursive ? AT_RECURSIVE : 0);
  return new FileDescriptor(openTree(directory, path, flags));
}

/**
 * Mount namespaces of one thread: a worker goes into another one and comes back.
 *
 * The kernel lets a thread do this once its root and working directory are its own (CLONE_FS apart); Node's other
 * threads, those of libuv's pool too, stay where they are. So only
 * synchronous calls of this thread see the other namespace. Never called on the main thread.
 */
import { isMainThread } from "node:worker_threads";
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, libcFunction } from "#kernel/libc.ts";
import { MS_PRIVATE, MS_REC, mount } from "#kernel/mount-syscalls.ts";
import { encodePath } from "#kernel/path-bytes.ts";
import { O_RDONLY, open } from "#kernel/syscalls.ts";

const cUnshare = libcFunction("int unshare(int flags)");
const cChdir = libcFunction("int chdir(const char *path)");
const cSetns = libcFunction("int setns(int fd, int type)");

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;

/**
 * Takes this thread into a copy of our mount namespace whose changes nobody else sees, until the result is disposed; the
 * copy is gone with its last user.
 */
export function enterPrivateMounts(): Disposable {
  return leave(() => {
    if (cUnshare(CLONE_NEWNS) < 0) fail("unshare", [CLONE_NEWNS]);
    mount("none", "/", "", MS_REC | MS_PRIVATE);
  });
}

/** Takes this thread into the mount namespace `namespace` is open on, whose root is then "/", until disposed. */
export function enterMountsOf(namespace: number): Disposable {
  return leave(() => {
    if (cSetns(namespace, CLONE_NEWNS) < 0) fail("setns", [namespace, CLONE_NEWNS]);
  });
}

/** The working directory of this thread, for mounts whose names are relative; only while it is in other mounts. */
export function changeDirectory(path: string): void {
  if (cChdir(encodePath(path)) < 0) fail("chdir", [path]);
}

function leave(go: () => void): Disposable {
  if (isMainThread) throw new Error("the main thread stays in its mount namespace");
  const home = new FileDescriptor(open("/proc/thread-self/ns/mnt", O_RDONLY));
  const comeBack = () => {
    const result = cSetns(home.number, CLONE_NEWNS);
    home.close();
    if (result < 0) lost();
  };
  try {
    if (cUnshare(CLONE_FS) < 0) fail("unshare", [CLONE_FS]);
    go();
  } catch (error) {
    comeBack();
    throw error;
  }
  return { [Symbol.dispose]: comeBack };
}

/** A thread that cannot come back must not do anything for anybody else: it ends. */
function lost(): never {
  console.error("a storage worker could not come back to its mount namespace");
  process.exit(1);
}

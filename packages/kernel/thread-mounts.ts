/**
 * Mount namespaces of one thread: a worker goes into another one for the length of a function and comes back.
 *
 * The kernel lets a thread do this once its root and working directory are its own (CLONE_FS apart); Node's other
 * threads, those of libuv's pool too, stay where they are. So inside the function only synchronous calls see the other
 * namespace. Never called on the main thread.
 */
import { readlinkSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { FileDescriptor } from "#kernel/fd.ts";
import { fail, libcFunction } from "#kernel/libc.ts";
import { MS_PRIVATE, MS_REC, mount } from "#kernel/mount-syscalls.ts";
import { O_RDONLY, open } from "#kernel/syscalls.ts";

const cUnshare = libcFunction("int unshare(int flags)");
const cSetns = libcFunction("int setns(int fd, int type)");

const CLONE_FS = 0x200;
const CLONE_NEWNS = 0x20000;

/** Runs `body` in a copy of our mount namespace whose changes nobody else sees; it is gone with its last user. */
export function inPrivateMounts<T>(body: () => T): T {
  return elsewhere(() => {
    if (cUnshare(CLONE_NEWNS) < 0) fail("unshare", [CLONE_NEWNS]);
    mount("none", "/", "", MS_REC | MS_PRIVATE);
  }, body);
}

/** Runs `body` in the mount namespace `namespace` is open on: "/" is its root then. */
export function inMountsOf<T>(namespace: number, body: () => T): T {
  return elsewhere(() => {
    if (cSetns(namespace, CLONE_NEWNS) < 0) fail("setns", [namespace, CLONE_NEWNS]);
  }, body);
}

function elsewhere<T>(go: () => void, body: () => T): T {
  if (isMainThread) throw new Error("the main thread stays in its mount namespace");
  using home = new FileDescriptor(open("/proc/self/ns/mnt", O_RDONLY));
  if (cUnshare(CLONE_FS) < 0) fail("unshare", [CLONE_FS]);
  try {
    go();
    return body();
  } finally {
    if (cSetns(home.number, CLONE_NEWNS) < 0) lost();
  }
}

/** A thread that cannot come back must not do anything for anybody else. */
function lost(): never {
  console.error(`a worker thread is lost in ${readlinkSync("/proc/thread-self/ns/mnt")}`);
  process.exit(1);
}

import assert from "node:assert/strict";
import { test } from "node:test";
import koffi from "koffi";
import { ERRNO } from "#kernel/errno.ts";
import { fail, inThread, lastErrno, libcFunction } from "#kernel/libc.ts";
import { isErrno } from "#kernel/syscall-error.ts";

const close = libcFunction("int close(int fd)");
const rename = libcFunction(
  "int renameat2(int dir, const char *path, int newDir, const char *newPath, unsigned int flags)",
);
const mount = libcFunction(
  "long syscall(long nr, long dir, const char *path, unsigned long flags, void *attributes, long size)",
);

test("the error of a call is what it was, whatever the thread's errno has become since", () => {
  assert.equal(close(-1), -1);
  koffi.errno(ERRNO.EAGAIN);
  assert.equal(lastErrno(), ERRNO.EBADF);
  assert.throws(
    () => fail("close", [-1]),
    (error) => isErrno(error, "EBADF"),
  );
});

test("functions of any number of parameters", () => {
  assert.equal(rename(-1, "a", -1, "b", 0), -1);
  assert.equal(lastErrno(), ERRNO.EBADF);
  assert.equal(mount(442, -1, "", 0xf0000000, null, 0), -1);
  assert.equal(lastErrno(), ERRNO.EINVAL);
});

test("in a thread of the pool the error is that thread's", async () => {
  assert.equal(close(-1), -1);
  const failed = await inThread(
    rename,
    "renameat2",
    [-100, "/nowhere", -100, "/elsewhere", 0],
    ["/nowhere"],
  ).catch((error: unknown) => error);
  assert.ok(isErrno(failed, "ENOENT"), String(failed));
  assert.equal(lastErrno(), ERRNO.EBADF, "and not that of this one");
});

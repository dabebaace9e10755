import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  decodeStatx,
  fstatat,
  fstatatIfExists,
  futimens,
  listDirectory,
  makeDevice,
  mkdirat,
  readlinkat,
} from "#kernel/file-syscalls.ts";
import { decodeStatfs } from "#kernel/file-system-status.ts";
import { encodeMountAttributes } from "#kernel/mount-syscalls.ts";
import { kill, pidfdOpen, pidfdSendSignal } from "#kernel/process-syscalls.ts";
import * as sockets from "#kernel/socket-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  encodeOpenHow,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  openat2,
  pread,
  RESOLVE_IN_ROOT,
  read,
  writeAll,
} from "#kernel/syscalls.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-kernel-"));
after(() => rmSync(directory, { recursive: true }));

test("a failure names the call, its arguments and the error", () => {
  assert.throws(
    () => open(`${directory}/none`, O_RDONLY),
    (error) =>
      error instanceof SyscallError &&
      error.call === "openat" &&
      error.code === "ENOENT" &&
      error.errno === 2 &&
      error.message.includes(`${directory}/none`),
  );
});

test("structures have the kernel's layout", () => {
  assert.equal(
    encodeOpenHow(0o2000000, 0o644, 0x10).toString("hex"),
    "0000080000000000a4010000000000001000000000000000",
  );
  assert.equal(encodeMountAttributes(1, 0, 2, 3).readBigUInt64LE(24), 3n);
  assert.equal(makeDevice(8, 1), 0x801n);
  assert.equal(makeDevice(0x12345, 0x54321), 0x0001200054334521n);
  const statx = Buffer.alloc(256);
  statx.writeUInt16LE(0o100644, 0x1c);
  statx.writeBigInt64LE(-1n, 0x70);
  statx.writeUInt32LE(5, 0x78);
  assert.equal(decodeStatx(statx).mode, 0o100644);
  assert.equal(decodeStatx(statx).modifiedAt, -999_999_995n);
  const statfs = Buffer.alloc(120);
  statfs.writeUInt32LE(0xef53, 0);
  assert.equal(decodeStatfs(statfs).name, "extfs");
  assert.deepEqual(sockets.decodeRights(sockets.encodeRights([3, 4, 5])), [3, 4, 5]);
  assert.equal(sockets.encodeNetlinkAddress(7, 1).toString("hex"), "100000000700000001000000");
});

test("files are written, read and timed through descriptors", () => {
  using dir = new FileDescriptor(open(directory, O_RDONLY | O_DIRECTORY));
  {
    using file = new FileDescriptor(openat(dir.number, "f", O_WRONLY | O_CREAT, 0o600));
    writeAll(file.number, Buffer.from("hello"));
    futimens(file.number, 1n, -1_500_000_001n);
  }
  assert.equal(fstatat(dir.number, "f").modifiedAt, -1_500_000_001n);
  assert.equal(statSync(`${directory}/f`).size, 5);
  using file = new FileDescriptor(openat(dir.number, "f", O_RDONLY));
  const buffer = Buffer.alloc(3);
  assert.equal(pread(file.number, buffer, 2), 3);
  assert.equal(buffer.toString(), "llo");
  assert.equal(read(file.number, buffer), 3);
  assert.equal(buffer.toString(), "hel");
  for (const [name, code] of [
    ["gone", "ENOENT"],
    ["x".repeat(256), "ENAMETOOLONG"],
  ] as const) {
    assert.equal(fstatatIfExists(dir.number, name), undefined);
    assert.throws(() => fstatat(dir.number, name), { code });
  }
});

test("names that are not UTF-8 can be made and listed", () => {
  const name = "x\udcff\udc80";
  mkdirat(-100, `${directory}/${name}`, 0o755);
  using dir = new FileDescriptor(open(directory, O_RDONLY | O_DIRECTORY));
  assert.ok(listDirectory(dir.number).includes(name));
  assert.ok(
    statSync(Buffer.concat([Buffer.from(`${directory}/x`), Buffer.from([0xff, 0x80])])).isDirectory(),
  );
});

test("openat2 keeps links inside the root", () => {
  symlinkSync("/../../etc/passwd", `${directory}/escape`);
  using dir = new FileDescriptor(open(directory, O_RDONLY | O_DIRECTORY));
  assert.equal(readlinkat(dir.number, "escape"), "/../../etc/passwd");
  assert.throws(() => openat2(dir.number, "escape", O_RDONLY, 0, RESOLVE_IN_ROOT), { code: "ENOENT" });
});

test("a descriptor cannot be used after it was closed", () => {
  const fd = new FileDescriptor(open(directory, O_RDONLY));
  fd.close();
  fd.close();
  assert.throws(() => fd.number);
});

test("bytes and descriptors cross a unix socket together", () => {
  const address = sockets.encodeUnixAddress(`${directory}/socket`);
  using server = new FileDescriptor(sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM, 0));
  sockets.bind(server.number, address);
  using client = new FileDescriptor(sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM, 0));
  sockets.connect(client.number, address);
  writeFileSync(`${directory}/passed`, "passed");
  using file = new FileDescriptor(open(`${directory}/passed`, O_RDONLY));
  assert.equal(sockets.sendDescriptors(client.number, Buffer.from("hi"), [file.number]), 2);
  const buffer = Buffer.alloc(16);
  const received = sockets.receiveDescriptors(server.number, buffer, 4);
  assert.equal(received.length, 2);
  assert.equal(received.descriptors.length, 1);
  using copy = new FileDescriptor(received.descriptors[0] as number);
  assert.equal(readFileSync(copy.procPath, "utf8"), "passed");
});

test("signals to processes that are gone answer false; pid 0 and groups are refused", () => {
  using self = new FileDescriptor(pidfdOpen(process.pid));
  assert.equal(pidfdSendSignal(self.number, 0), true);
  assert.equal(kill(2 ** 22 - 1, 0), false);
  assert.throws(() => kill(0, 0), RangeError);
  assert.throws(() => kill(-1, 0), RangeError);
});

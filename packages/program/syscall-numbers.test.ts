import assert from "node:assert/strict";
import { test } from "node:test";
import { ARCHITECTURES, isSyscallName, syscallName, syscallNumber } from "#program/syscall-numbers.ts";

/** From each architecture's own documentation of its calls. */
const known: [name: string, numbers: (number | undefined)[]][] = [
  ["read", [0, 63, 3, 3, 0x4000_0000]],
  ["execve", [59, 221, 11, 11, 0x4000_0208]],
  ["open", [2, undefined, 5, 5, 0x4000_0002]],
  ["socketcall", [undefined, undefined, 102, undefined, undefined]],
  ["mmap2", [undefined, undefined, 192, 192, undefined]],
  ["clone3", [435, 435, 435, 435, 0x4000_01b3]],
  ["openat2", [437, 437, 437, 437, 0x4000_01b5]],
  ["fchmodat2", [452, 452, 452, 452, 0x4000_01c4]],
  ["set_tls", [undefined, undefined, undefined, 0xf0005, undefined]],
  ["arch_prctl", [158, undefined, 384, undefined, 0x4000_009e]],
];

test("numbers by name and architecture", () => {
  for (const [name, numbers] of known) {
    assert.deepEqual(
      ARCHITECTURES.map((arch) => syscallNumber(name, arch)),
      numbers,
      name,
    );
  }
});

test("names that are none", () => {
  assert.equal(syscallNumber("no_such_call", "x64"), undefined);
  assert.equal(syscallNumber("toString", "x64"), undefined);
  assert.equal(isSyscallName("hasOwnProperty"), false);
  assert.equal(isSyscallName("open"), true);
});

test("names by number", () => {
  assert.equal(syscallName(257, "x64"), "openat");
  assert.equal(syscallName(56, "arm64"), "openat");
  assert.equal(syscallName(0x4000_0208, "x32"), "execve");
  assert.equal(syscallName(9999, "x64"), undefined);
});

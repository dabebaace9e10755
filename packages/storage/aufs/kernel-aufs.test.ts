import assert from "node:assert/strict";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import { aufsMountData } from "#storage/aufs/kernel-aufs.ts";

const branches = (count: number) => [
  { path: "/data/aufs/diff/top", writable: true },
  ...Array.from({ length: count }, (_, index) => ({
    path: `/data/aufs/diff/${String(index).padStart(64, "0")}`,
    writable: false,
  })),
];

test("branches in their order, marks of those below counted", () => {
  const [first, ...more] = aufsMountData(branches(1), { dirperm1: true });
  assert.equal(
    first,
    `br:/data/aufs/diff/top=rw:/data/aufs/diff/${"0".repeat(64)}=ro+wh,dio,xino=/dev/shm/aufs.xino,dirperm1`,
  );
  assert.deepEqual(more, []);
  const [without] = aufsMountData(branches(0), { dirperm1: false });
  assert.equal(without, "br:/data/aufs/diff/top=rw,dio,xino=/dev/shm/aufs.xino");
});

test("a union that is only read", () => {
  const [data] = aufsMountData([{ path: "/a", writable: false }], { dirperm1: false });
  assert.equal(data, "br:/a=ro+wh,dio,xino=/dev/shm/aufs.xino");
});

test("what does not fit into a page is appended, each branch once and in order", () => {
  for (const count of [40, 41, 42, 43, 44, 45, 46, 47, 48, 90, 126]) {
    const texts = aufsMountData(branches(count), { dirperm1: true });
    const told = texts.flatMap((text, index) => {
      assert.ok(Buffer.byteLength(text) < 4096, text);
      const options = text.split(",");
      if (index > 0) return options.map((option) => option.replace(/^append:/, ""));
      assert.deepEqual(options.slice(1), ["dio", "xino=/dev/shm/aufs.xino", "dirperm1"]);
      return (options[0] ?? "").split(":").slice(1);
    });
    assert.deepEqual(
      told,
      branches(count).map(({ path, writable }) => `${path}=${writable ? "rw" : "ro+wh"}`),
    );
    assert.equal(texts.length > 1, count > 46, String(count));
  }
});

test("paths that its options have no words for are refused", () => {
  for (const path of ["/a:b", "/a,b", "/a=b", "/a\\b"]) {
    assert.throws(
      () => aufsMountData([{ path, writable: true }], { dirperm1: true }),
      (error) => isBerthError(error, "invalid"),
    );
  }
});

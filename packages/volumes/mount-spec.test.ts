import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MountRequest } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import { parseMountOptions } from "#volumes/mount-options.ts";
import { parseBind, parseVolumesFrom, planMount } from "#volumes/mount-spec.ts";

test("a host path, a volume, an anonymous volume", () => {
  const bind = parseBind("/srv//x/:/x:ro,rslave");
  assert.deepEqual(
    [bind.type, bind.source, bind.destination, bind.readOnly, bind.propagation, bind.mode],
    ["bind", "/srv/x", "/x", true, "rslave", "ro,rslave"],
  );
  const volume = parseBind("data:/x:nocopy,z");
  assert.deepEqual([volume.type, volume.volumeName, volume.noCopy], ["volume", "data", true]);
  const anonymous = parseBind("/x");
  assert.deepEqual([anonymous.type, anonymous.volumeName, anonymous.destination], ["volume", "", "/x"]);
});

const REFUSED: [string, RegExp][] = [
  ["", /invalid volume specification: ''/],
  ["a:b:c:d", /invalid volume specification: 'a:b:c:d'/],
  [":/x", /invalid volume specification/],
  ["vol:relative", /invalid mount path: 'relative' mount path must be absolute/],
  ["/host:/", /destination can't be '\/'/],
  ["/host:/x/..", /destination can't be '\/'/],
  ["vol:/x:ro,rw", /invalid mode: ro,rw/],
  ["vol:/x:fast", /invalid mode: fast/],
  ["vol:/x:rslave", /type "volume": field BindOptions must not be specified$/],
  ["/a:/x:nocopy", /type "bind": field VolumeOptions must not be specified$/],
  ["/x:ro", /^BerthError: invalid volume specification: '\/x:ro'$/],
  ["vol::ro", /field Target must not be empty/],
];
for (const [spec, message] of REFUSED) {
  test(`-v ${JSON.stringify(spec)} is refused`, () => assert.throws(() => parseBind(spec), message));
}

test("--mount, as the API has it", () => {
  const mount: MountRequest = { Type: "bind", Source: "/srv", Target: "/x", ReadOnly: true };
  assert.equal(planMount(mount, () => true).readOnly, true);
  assert.throws(
    () => planMount(mount, () => false),
    /^BerthError: invalid mount config for type "bind": bind source path does not exist: \/srv$/,
  );
  const tmpfs = planMount(
    { Type: "tmpfs", Target: "/t", TmpfsOptions: { SizeBytes: 4096, Mode: 0o1777 } },
    () => true,
  );
  assert.equal(tmpfs.tmpfsOptions, "mode=1777,size=4k");
  assert.throws(() => planMount({ Type: "npipe", Target: "/x" }, () => true), /mount type unknown/);
});

const MOUNTS: [Partial<MountRequest>, RegExp][] = [
  [{ Type: "bind", Target: "" }, /type "bind": field Target must not be empty$/],
  [{ Type: "bind", Target: "/x" }, /type "bind": field Source must not be empty$/],
  [{ Type: "bind", Source: "rel", Target: "/x" }, /invalid mount path: 'rel' mount path must be absolute$/],
  [{ Type: "bind", Source: "/a", Target: "x" }, /invalid mount path: 'x' mount path must be absolute$/],
  [
    { Type: "bind", Source: "/a", Target: "/x", VolumeOptions: {} },
    /field VolumeOptions must not be specified$/,
  ],
  [
    { Type: "bind", Source: "/a", Target: "/x", BindOptions: { Propagation: "odd" } },
    /propagation mode: odd$/,
  ],
  [
    { Type: "bind", Source: "/a", Target: "/x", BindOptions: { ReadOnlyNonRecursive: true } },
    /^BerthError: mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive$/,
  ],
  [
    { Type: "volume", Target: "/x", VolumeOptions: { Subpath: "a" } },
    /Subpath when using anonymous volumes$/,
  ],
  [
    { Type: "volume", Source: "vv", Target: "/x", VolumeOptions: { Subpath: "a/../../b" } },
    /subpath must be a relative path within the volume$/,
  ],
  [
    { Type: "volume", Source: "vv", Target: "/x", VolumeOptions: { Subpath: "/b" } },
    /must be a relative path/,
  ],
  [{ Type: "volume", Target: "/x", ReadOnly: true }, /ReadOnly mode when using anonymous volumes$/],
  [{ Type: "volume", Target: "/x", BindOptions: {} }, /field BindOptions must not be specified$/],
  [{ Type: "tmpfs", Source: "/a", Target: "/x" }, /type "tmpfs": field Source must not be specified$/],
  [{ Type: "tmpfs", Target: "/x", TmpfsOptions: { Options: [["suid"]] } }, /invalid option: suid$/],
  [{ Type: "tmpfs", Target: "/x", TmpfsOptions: { Options: [[]] } }, /invalid option array length$/],
  [{ Type: "image", Target: "/x" }, /type "image": field Source must not be empty$/],
  [{ Type: "image", Source: "i", Target: "/x", BindOptions: {} }, /field BindOptions must not be specified$/],
  [
    { Type: "image", Source: "i", Target: "/x", ImageOptions: { Subpath: "../x" } },
    /must be a relative path/,
  ],
  [{ Type: "cluster", Target: "/x" }, /type "cluster": mount type unknown$/],
  [{ Target: "/x" }, /type "": mount type unknown$/],
];
for (const [mount, message] of MOUNTS) {
  test(`--mount ${JSON.stringify(mount)} is refused`, () =>
    assert.throws(() => planMount(mount as MountRequest, () => true), message));
}

test("read-only is for all that is mounted below, unless it is said not to be or the client is old", () => {
  const tree = (options: MountRequest["BindOptions"], old = false) =>
    planMount(
      { Type: "bind", Source: "/a", Target: "/x", ReadOnly: true, ...(options && { BindOptions: options }) },
      () => true,
      { readOnlyMountAlone: old },
    ).readOnlyTree;
  assert.deepEqual(
    [tree(undefined), tree({ ReadOnlyNonRecursive: true }), tree({ ReadOnlyForceRecursive: true }, true)],
    [true, false, true],
  );
  assert.equal(tree(undefined, true), false);
  assert.equal(parseBind("/a:/x:ro").readOnlyTree, true);
  assert.equal(parseBind("/a:/x").readOnlyTree, false);
});

test("sizes of tmpfs in the largest unit that fits", () => {
  const size = (SizeBytes: number) =>
    planMount({ Type: "tmpfs", Target: "/x", TmpfsOptions: { SizeBytes } }, () => true).tmpfsOptions;
  assert.deepEqual([1 << 30, 3 << 20, 1000].map(size), ["size=1g", "size=3m", "size=1000"]);
});

test("--volumes-from", () => {
  assert.deepEqual(parseVolumesFrom("c:ro,z"), { name: "c", readOnly: true });
  assert.deepEqual(parseVolumesFrom("c"), { name: "c", readOnly: false });
  assert.throws(() => parseVolumesFrom(""), /volumes-from specification cannot be an empty string/);
  for (const mode of ["nocopy", "rslave", "odd", "ro,rw"])
    assert.throws(() => parseVolumesFrom(`c:${mode}`), new RegExp(`invalid mode: ${mode}`));
});

test("no specification makes the parser fail in any other way", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(fc.constantFrom("/", ":", "a", "..", "ro", ",")).map((parts) => parts.join("")),
      ),
      (spec) => {
        try {
          const plan = parseBind(spec);
          assert.match(plan.destination, /^\/./);
          assert.ok(!plan.destination.split("/").includes(".."));
        } catch (error) {
          assert.ok(error instanceof BerthError, String(error));
        }
      },
    ),
  );
});

test("mount options become flags and data", () => {
  assert.deepEqual(parseMountOptions("ro,nosuid,size=1m,rw,uid=5"), {
    flags: 2,
    data: "size=1m,uid=5",
    propagation: 0,
  });
  assert.deepEqual(parseMountOptions("bind,ro,rshared"), {
    flags: 4097,
    data: "",
    propagation: 16_384 | (1 << 20),
  });
});

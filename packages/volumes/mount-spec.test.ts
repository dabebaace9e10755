import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { MountRequest } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import { parseMountOptions } from "#volumes/mount-options.ts";
import { parseBind, planMount } from "#volumes/mount-spec.ts";

test("a host path, a volume, an anonymous volume", () => {
  const bind = parseBind("/srv//x/:/x:ro,rslave");
  assert.deepEqual(
    [bind.type, bind.source, bind.destination, bind.readOnly, bind.propagation, bind.mode],
    ["bind", "/srv/x/", "/x", true, "rslave", "ro,rslave"],
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
  ["vol:/x:rslave", /invalid mode/],
  ["./here:/x", /includes invalid characters for a local volume name/],
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
  assert.equal(tmpfs.tmpfsOptions, "size=4096,mode=1777");
  assert.throws(() => planMount({ Type: "npipe", Target: "/x" }, () => true), /mount type unknown/);
  const subpath = { Type: "volume" as const, Target: "/x", VolumeOptions: { Subpath: "a/../../b" } };
  assert.throws(() => planMount(subpath, () => true), /subpath must be a relative path/);
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
  assert.deepEqual(parseMountOptions("ro,nosuid,size=1m,rw,uid=5"), { flags: 2, data: "size=1m,uid=5" });
});

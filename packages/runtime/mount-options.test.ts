import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MOUNT_ATTR, PROPAGATION, parseMountOptions } from "#runtime/mount-options.ts";

const { RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, STRICTATIME, ATIME_MASK } = MOUNT_ATTR;

describe("mount options", () => {
  it("are sorted into attributes and parameters", () => {
    const options = parseMountOptions(["nosuid", "noexec", "nodev", "ro", "size=64k", "mode=1777"]);
    assert.deepEqual(options.attributes, { set: NOSUID | NOEXEC | NODEV | RDONLY, clear: 0 });
    assert.deepEqual(options.parameters, ["size=64k", "mode=1777"]);
  });

  it("are overruled by later ones", () => {
    assert.deepEqual(parseMountOptions(["ro", "rw"]).attributes, { set: 0, clear: RDONLY });
    assert.deepEqual(parseMountOptions(["rw", "ro"]).attributes, { set: RDONLY, clear: 0 });
    assert.deepEqual(parseMountOptions(["noatime", "strictatime"]).attributes, {
      set: STRICTATIME,
      clear: ATIME_MASK,
    });
    assert.deepEqual(parseMountOptions(["noatime"]).attributes, { set: NOATIME, clear: ATIME_MASK });
  });

  it("know recursion and propagation", () => {
    const options = parseMountOptions(["rbind", "rro", "rslave"]);
    assert.deepEqual([options.bind, options.recursive], [true, true]);
    assert.deepEqual(options.recursiveAttributes, { set: RDONLY, clear: 0 });
    assert.deepEqual(options.propagation, [{ flag: PROPAGATION.slave, recursive: true }]);
    assert.deepEqual(parseMountOptions(["bind", "slave", "shared"]).propagation, [
      { flag: PROPAGATION.slave, recursive: false },
      { flag: PROPAGATION.shared, recursive: false },
    ]);
    assert.equal(parseMountOptions(["bind"]).recursive, false);
  });

  it("pass over words without meaning here, and take no property of objects for a word", () => {
    assert.deepEqual(parseMountOptions(["z", "defaults", "", "cached"]).parameters, []);
    assert.deepEqual(parseMountOptions(["constructor", "rconstructor"]).parameters, [
      "constructor",
      "rconstructor",
    ]);
    assert.equal(parseMountOptions(["bind", "idmap"]).idMap, "mount");
    assert.equal(parseMountOptions(["rbind", "ridmap"]).idMap, "tree");
  });
});

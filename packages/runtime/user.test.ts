import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { rlimitsFromUlimits } from "#runtime/rlimits.ts";
import { resolveUser } from "#runtime/user.ts";

const passwd = `root:x:0:0:root:/root:/bin/sh
# a comment
broken line
user:x:1000:1001:,,,:/home/user:/bin/sh
big:x:4294967296:0::/:/bin/sh
1000:x:0:0:not root:/:/bin/sh
42:x:0:0:::
bin:x:2:2::/bin:/bin/sh`;
const group = `root:x:0:
audio:x:29:user, bin
video:x:44:user
damaged:x:x:user
1000:x:0:`;
const files = { passwd, group };
const ids = (text: string, add?: string[]) => {
  const { uid, gid, additionalGids } = resolveUser(text, files, add);
  return [uid, gid, additionalGids];
};

describe("a user", () => {
  it("is root where none is named", () => {
    assert.deepEqual(resolveUser("", files), {
      uid: 0,
      gid: 0,
      additionalGids: [0],
      home: "/root",
      name: "root",
    });
    assert.deepEqual(resolveUser("", {}), {
      uid: 0,
      gid: 0,
      additionalGids: [0],
      home: "/",
      name: undefined,
    });
  });

  it("is looked up by name, with its groups", () => {
    assert.deepEqual(ids("user"), [1000, 1001, [1001, 29, 44]]);
    assert.equal(resolveUser("user", files).home, "/home/user");
  });

  it("is a number where one is given, whatever the image calls by that name", () => {
    assert.deepEqual(ids("1000"), [1000, 1001, [1001, 29, 44]]);
    assert.deepEqual(ids("42"), [42, 0, [0]]);
    assert.deepEqual(ids("1000:1000"), [1000, 1000, [1000]]);
    assert.deepEqual(ids("01"), [1, 0, [0]]);
  });

  it("takes exactly the named group, and those added", () => {
    assert.deepEqual(ids("user:video"), [1000, 44, [44]]);
    assert.deepEqual(ids("user:"), [1000, 1001, [1001, 29, 44]]);
    assert.deepEqual(ids(":audio"), [0, 29, [29]]);
    assert.deepEqual(ids("5:6", ["audio", "7", "audio"]), [5, 6, [6, 29, 7]]);
  });

  it("is never made of something that only looks like a number", () => {
    for (const text of [
      "-1",
      "+1",
      "4294967296",
      "4294967295",
      "2147483648",
      "99999999999999999999",
      "0:-1",
      "0:4294967296",
    ]) {
      assert.throws(() => ids(text), /uids and gids must be in range 0-2147483647/, text);
    }
    for (const text of ["1x", "0x0", "nosuch", " 1", "1.0", "toString"]) {
      assert.throws(() => ids(text), /unable to find user .*: no matching entries in passwd file/, text);
    }
    assert.throws(() => ids("0:nosuch"), /unable to find group nosuch: no matching entries in group file/);
    assert.throws(() => ids("0", ["nosuch"]), /unable to find group nosuch/);
    // An entry whose number is out of range is no entry.
    assert.throws(() => ids("big"), /unable to find user big/);
  });

  it("does not drown in a huge file", () => {
    const many = { passwd: "x:x:1:1:::\n".repeat(300_000) };
    assert.throws(() => resolveUser("nosuch", many), /unable to find user/);
  });
});

describe("ulimits", () => {
  it("become resource limits", () => {
    assert.deepEqual(rlimitsFromUlimits([{ Name: "nofile", Soft: 1024, Hard: 2048 }]), [
      { type: "RLIMIT_NOFILE", soft: 1024, hard: 2048 },
    ]);
    assert.throws(
      () => rlimitsFromUlimits([{ Name: "nosuch", Soft: 1, Hard: 1 }]),
      /invalid ulimit type: nosuch/,
    );
    assert.throws(
      () => rlimitsFromUlimits([{ Name: "nofile", Soft: 2, Hard: 1 }]),
      /less than or equal to hard limit/,
    );
    assert.throws(
      () => rlimitsFromUlimits([{ Name: "core", Soft: -1, Hard: 1 }]),
      /less than or equal to hard limit/,
    );
  });
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BerthError } from "#errors/errors.ts";
import { linuxWarnings } from "#runtime/compile/check-linux.ts";
import {
  checkMapped,
  groupsIn,
  hostId,
  mapText,
  planUserNamespace,
  type RootlessCaller,
} from "#runtime/compile/user-namespace.ts";
import type { Spec, SpecIdMapping, SpecLinux, SpecProcess } from "#runtime/spec-types.ts";

const map = (containerID: number, hostID: number, size: number): SpecIdMapping => ({
  containerID,
  hostID,
  size,
});
const specOf = (linux: SpecLinux): Spec => ({ ociVersion: "1.3.0", linux });
const owned = (uidMappings: SpecIdMapping[], gidMappings = uidMappings): Spec =>
  specOf({ namespaces: [{ type: "user" }], uidMappings, gidMappings });
const caller: RootlessCaller = { uid: 1000, gid: 100 };
const user = (uid: number, gid: number, additionalGids?: number[]): SpecProcess => ({
  cwd: "/",
  user: { uid, gid, ...(additionalGids && { additionalGids }) },
});

function refused(run: () => unknown, pattern: RegExp): void {
  assert.throws(
    run,
    (error: unknown) =>
      error instanceof BerthError && error.code === "invalid" && pattern.test(error.message),
    String(pattern),
  );
}

describe("the plan of a user namespace", () => {
  it("is none where none is listed, and then mappings are passed over, which is told", () => {
    assert.equal(planUserNamespace(specOf({ namespaces: [{ type: "pid" }] }), undefined), undefined);
    const uidMappings = [map(0, 1, 1)];
    assert.equal(planUserNamespace(specOf({ uidMappings }), undefined), undefined);
    assert.match(linuxWarnings({ uidMappings }).join(), /linux\.uidMappings, .* passed over/);
    assert.deepEqual(linuxWarnings({ uidMappings, namespaces: [{ type: "user" }] }), []);
  });

  it("has the mappings written by root itself", () => {
    const plan = planUserNamespace(owned([map(0, 1000, 1), map(1, 5000, 100)]), undefined);
    assert.deepEqual(
      [plan?.path, plan?.rootless, plan?.byTools, plan?.fixedGroups, groupsIn(plan)],
      [undefined, false, false, false, "set"],
    );
    assert.equal(mapText(plan?.uidMappings ?? []), "0 1000 1\n1 5000 100\n");
  });

  it("knows of a namespace that is joined what it is told", () => {
    const spec = specOf({ namespaces: [{ type: "user", path: "/x" }], uidMappings: [map(0, 5, 1)] });
    const plan = planUserNamespace(spec, undefined);
    assert.deepEqual([plan?.path, plan?.uidMappings, groupsIn(plan)], ["/x", [map(0, 5, 1)], "try"]);
    if (plan) checkMapped(plan, user(77, 77));
    for (const uidMappings of [{}, [null], [map(0, -1, 1)]] as never[]) {
      const wrong = specOf({ namespaces: [{ type: "user", path: "/x" }], uidMappings });
      assert.throws(() => planUserNamespace(wrong, undefined), /linux\.uidMappings/);
    }
  });

  it("of an ordinary user maps himself alone without anybody's help, and more by the tools", () => {
    const alone = planUserNamespace(owned([map(0, 1000, 1)], [map(0, 100, 1)]), caller);
    assert.deepEqual([alone?.byTools, alone?.fixedGroups, groupsIn(alone)], [false, true, "leave"]);
    for (const [uids, gids] of [
      [[map(0, 1000, 1), map(1, 100_000, 65_536)], [map(0, 100, 1)]],
      [[map(0, 1000, 1)], [map(0, 100_000, 1)]],
      [[map(0, 1000, 2)], [map(0, 100, 1)]],
    ] as const) {
      const plan = planUserNamespace(owned([...uids], [...gids]), caller);
      assert.deepEqual([plan?.byTools, plan?.fixedGroups], [true, false]);
    }
  });

  it("refuses mappings that the kernel would, by field", () => {
    const good = [map(0, 1000, 10)];
    const bad: [SpecIdMapping[], RegExp][] = [
      [[], /^linux\.uidMappings: user namespaces enabled, but no mappings found/],
      [[map(1, 1000, 10)], /^linux\.uidMappings: the container's root \(0\) is not mapped/],
      [[map(0, 1000, 0)], /^linux\.uidMappings\[0\]\.size: 0 is not/],
      [[map(0, -1, 1)], /^linux\.uidMappings\[0\]\.hostID: -1/],
      [[map(0.5, 1, 1)], /^linux\.uidMappings\[0\]\.containerID: 0\.5/],
      [[map(0, 2 ** 32 - 5, 10)], /^linux\.uidMappings\[0\]: goes beyond the highest hostID/],
      [
        [map(0, 1000, 10), map(9, 5000, 1)],
        /^linux\.uidMappings\[1\]: .*linux\.uidMappings\[0\].*containerID/,
      ],
      [[map(0, 1000, 10), map(50, 1005, 1)], /^linux\.uidMappings\[1\]: .*linux\.uidMappings\[0\].*hostID/],
      [Array.from({ length: 341 }, (_, n) => map(n, n, 1)), /341 mappings, the kernel takes 340/],
    ];
    for (const [uids, pattern] of bad)
      refused(() => planUserNamespace(owned(uids, good), undefined), pattern);
    refused(() => planUserNamespace(owned(good, []), undefined), /^linux\.gidMappings: /);
    const missing = [{ containerID: 0, hostID: 1 }] as SpecIdMapping[];
    refused(() => planUserNamespace(owned(missing, good), undefined), /uidMappings\[0\]\.size: undefined/);
  });

  it("wants everybody that the process is to be mapped", () => {
    const plan = planUserNamespace(owned([map(0, 1000, 10)], [map(0, 2000, 5)]), undefined);
    assert.ok(plan);
    checkMapped(plan, user(9, 4, [1, 2]));
    refused(
      () => checkMapped(plan, user(10, 0)),
      /^process\.user\.uid: 10 is not mapped by linux\.uidMappings/,
    );
    refused(
      () => checkMapped(plan, user(0, 5)),
      /^process\.user\.gid: 5 is not mapped by linux\.gidMappings/,
    );
    refused(() => checkMapped(plan, user(0, 0, [1, 7])), /^process\.user\.additionalGids\[1\]: 7 is not/);
    const alone = planUserNamespace(owned([map(0, 1000, 1)], [map(0, 100, 1)]), caller);
    assert.ok(alone);
    refused(
      () => checkMapped(alone, user(0, 0, [0])),
      /cannot set any additional groups in a rootless container/,
    );
  });

  it("finds the host's id of a mapped one", () => {
    const mappings = [map(0, 1000, 1), map(1, 100_000, 10)];
    assert.deepEqual(
      [0, 1, 10, 11].map((id) => hostId(mappings, id)),
      [1000, 100_000, 100_009, undefined],
    );
  });
});

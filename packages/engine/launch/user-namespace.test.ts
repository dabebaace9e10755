import assert from "node:assert/strict";
import { test } from "node:test";
import {
  checkSharing,
  checkUserNamespace,
  containerRoot,
  mappingsOf,
} from "#engine/launch/user-namespace.ts";

const idMap = {
  uids: [
    { inside: 0, outside: 1000, count: 10 },
    { inside: 10, outside: 5000, count: 5 },
  ],
  gids: [{ inside: 0, outside: 2000, count: 15 }],
};

test("a container has the daemon's mappings, unless it is in the host's user namespace", () => {
  assert.deepEqual(mappingsOf(idMap, {}), {
    uidMappings: [
      { containerID: 0, hostID: 1000, size: 10 },
      { containerID: 10, hostID: 5000, size: 5 },
    ],
    gidMappings: [{ containerID: 0, hostID: 2000, size: 15 }],
  });
  assert.equal(mappingsOf(idMap, { UsernsMode: "host" }), undefined);
  assert.equal(mappingsOf(undefined, {}), undefined);
});

test("containers' root is who their 0 is", () => {
  assert.deepEqual(containerRoot({ idMap }), { uid: 1000, gid: 2000 });
  assert.deepEqual(containerRoot({ idMap: undefined }), { uid: 0, gid: 0 });
});

test("what takes the host's rights is refused where there are mappings", () => {
  for (const [hostConfig, message] of [
    [{ Privileged: true }, /^privileged mode is incompatible with user namespaces\. {2}You must/],
    [{ NetworkMode: "host" }, /^cannot share the host's network namespace/],
    [{ PidMode: "host" }, /^cannot share the host PID namespace/],
  ] as const) {
    assert.throws(() => checkUserNamespace(idMap, hostConfig), { code: "invalid", message });
    checkUserNamespace(idMap, { ...hostConfig, UsernsMode: "host" });
    checkUserNamespace(undefined, hostConfig);
  }
  checkUserNamespace(idMap, { IpcMode: "host", UTSMode: "host" });
});

test("namespaces of who is in the host's user namespace are not to be shared from inside another", () => {
  assert.throws(() => checkSharing(idMap, {}, { UsernsMode: "host" }), { code: "conflict" });
  checkSharing(idMap, {}, {});
  checkSharing(idMap, { UsernsMode: "host" }, {});
  checkSharing(undefined, {}, { UsernsMode: "host" });
});

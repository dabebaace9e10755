import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  CAPABILITIES,
  capabilityMask,
  DEFAULT_CAPABILITIES,
  resolveCapabilities,
} from "#runtime/capabilities.ts";

const resolve = (add: string[], drop: string[], privileged = false) =>
  resolveCapabilities({ add, drop, privileged });

describe("capabilities", () => {
  it("are Docker's fourteen by default", () => {
    assert.deepEqual(resolve([], []), [...DEFAULT_CAPABILITIES]);
    // The mask known from every default container's /proc/self/status.
    assert.equal(capabilityMask(resolve([], []), 40), 0xa80425fbn);
  });

  it("are added and dropped by name in any spelling", () => {
    assert.ok(resolve(["net_admin", "CAP_SYS_TIME"], []).includes("CAP_NET_ADMIN"));
    assert.ok(!resolve([], ["cap_net_raw"]).includes("CAP_NET_RAW"));
    assert.equal(resolve(["CHOWN"], []).filter((name) => name === "CAP_CHOWN").length, 1);
  });

  it("know ALL on either side", () => {
    assert.deepEqual(
      resolve(["ALL"], ["SYS_ADMIN"]),
      CAPABILITIES.filter((name) => name !== "CAP_SYS_ADMIN"),
    );
    assert.deepEqual(resolve(["net_bind_service"], ["all"]), ["CAP_NET_BIND_SERVICE"]);
    assert.deepEqual(resolve([], ["ALL"]), []);
    assert.deepEqual(resolve([], ["ALL"], true), [...CAPABILITIES]);
  });

  it("refuse a name that is none, whatever else is asked", () => {
    assert.throws(() => resolve(["NOSUCH"], []), /invalid CapAdd: unknown capability: "CAP_NOSUCH"/);
    assert.throws(() => resolve([], ["__proto__"]), /invalid CapDrop/);
    assert.throws(() => resolve(["NOSUCH"], [], true), /unknown capability/);
  });

  it("leave out what the kernel doesn't have yet", () => {
    assert.equal(capabilityMask(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"], 37), 1n);
    assert.equal(capabilityMask([...CAPABILITIES], 40), 2n ** 41n - 1n);
    assert.throws(() => capabilityMask(["CHOWN"], 40), /unknown capability/);
  });
});

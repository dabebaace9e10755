import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { planSysctls } from "#runtime/compile/sysctls.ts";
import type { NamespaceType, Spec } from "#runtime/spec-types.ts";

const plan = (
  sysctl: Record<string, string>,
  types: NamespaceType[] = ["ipc", "network", "uts"],
  more = {},
) =>
  planSysctls({
    ociVersion: "1.2.0",
    ...more,
    linux: { sysctl, namespaces: types.map((type) => ({ type })) },
  } as Spec);

describe("sysctls", () => {
  it("lie where dots or slashes say, whichever comes first", () => {
    const path = (name: string) => plan({ [name]: "1" })[0]?.path;
    assert.equal(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
    assert.equal(path("net/ipv4/ip_forward"), "net/ipv4/ip_forward");
    assert.equal(path("net/ipv4/conf/eno2.100/rp_filter"), "net/ipv4/conf/eno2.100/rp_filter");
    assert.equal(path("net.ipv4.conf.eno2/100.rp_filter"), "net/ipv4/conf/eno2.100/rp_filter");
    assert.equal(path("kernel.shmmax"), "kernel/shmmax");
    assert.equal(path("fs/mqueue/msg_max"), "fs/mqueue/msg_max");
    assert.equal(path("kernel.domainname"), "kernel/domainname");
  });

  it("need the namespace that they belong to", () => {
    const refused = (name: string, types: NamespaceType[], message: RegExp, more = {}) =>
      assert.throws(() => plan({ [name]: "1" }, types, more), message);
    refused(
      "kernel.sem",
      ["network"],
      /linux\.sysctl: sysctl "kernel.sem" is not allowed in the hosts ipc namespace/,
    );
    refused("fs.mqueue.msg_max", [], /not allowed in the hosts ipc namespace/);
    refused(
      "net.core.somaxconn",
      ["ipc"],
      /sysctl "net.core.somaxconn" not allowed in host network namespace/,
    );
    refused("kernel.hostname", ["uts"], /conflicts with the OCI "hostname" field/);
    refused("kernel.domainname", ["ipc"], /not in a separate kernel namespace/);
    refused("kernel.domainname", ["uts"], /conflicts with the OCI "domainname" field/, { domainname: "x" });
    for (const name of ["kernel.panic", "vm.swappiness", "kernel", "net", "", "kernel.shm_rmid_forced.x"])
      refused(name, ["ipc", "network", "uts"], /not in a separate kernel namespace/);
  });

  it("lead nowhere else", () => {
    for (const name of ["net/../kernel/panic", "net.//.kernel.panic", "net..x", "net/", "net/./x"])
      assert.throws(() => plan({ [name]: "1" }), /not in a separate kernel namespace/, name);
    assert.throws(
      () => plan({ "net.core.somaxconn": 5 as unknown as string }),
      /must have a string for value/,
    );
  });
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerConfig, HostConfig } from "#api-types/container.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { containerResources, parseDeviceRule } from "#engine/launch/container-resources.ts";
import { containerSpec, environment } from "#engine/launch/container-spec.ts";
import type { IdMap } from "#storage/unpack/id-map.ts";

const ROOT = { uid: 0, gid: 0, additionalGids: [0], home: "/root", name: "root" };

function spec(
  hostConfig: HostConfig,
  config: ContainerConfig = {},
  mounts: ContainerRecord["mounts"] = [],
  user = ROOT,
  idMap?: IdMap,
) {
  return containerSpec({
    record: {
      id: "f".repeat(64),
      config,
      hostConfig,
      mounts,
      path: "sh",
      args: ["-c", "true"],
    } as unknown as ContainerRecord,
    user,
    sources: new Map([["/data", "/host/data"]]),
    files: { hosts: "/h", hostname: "/n", resolvConf: "/r" },
    host: {
      architecture: "x64",
      lastCapability: 40,
      seccompActions: [],
      apparmor: false,
      kernelRelease: "6.1.0",
    },
    defaults: { noNewPrivileges: false, defaultUlimits: [], seccompProfile: "" },
    idMap,
    joined: () => 42,
  });
}

test("a container in a user namespace has what can be had there", () => {
  const idMap = {
    uids: [{ inside: 0, outside: 1000, count: 20 }],
    gids: [{ inside: 0, outside: 2000, count: 10 }],
  };
  const Devices = [
    { PathOnHost: "/dev/null", PathInContainer: "/dev/null", CgroupPermissions: "r" },
    { PathOnHost: "/dev/zero", PathInContainer: "/dev/renamed", CgroupPermissions: "r" },
  ];
  const { linux, mounts } = spec({ Devices }, {}, [], ROOT, idMap);
  assert.ok(linux?.namespaces?.some(({ type, path }) => type === "user" && path === undefined));
  assert.deepEqual(linux?.uidMappings, [{ containerID: 0, hostID: 1000, size: 20 }]);
  assert.equal(linux?.sysctl?.["net.ipv4.ping_group_range"], "0 9");
  assert.ok(!linux?.devices?.some(({ path }) => path === "/dev/renamed"));
  assert.deepEqual(mounts?.find(({ destination }) => destination === "/dev/renamed")?.source, "/dev/zero");
  const joined = spec({ IpcMode: "container:x" }, {}, [], ROOT, idMap);
  assert.ok(
    joined.linux?.namespaces?.some(({ type, path }) => type === "user" && path === "/proc/42/ns/user"),
  );
  const host = spec({ IpcMode: "host" }, {}, [], ROOT, idMap);
  assert.ok(!host.mounts?.some(({ destination }) => destination === "/dev/mqueue"));
  const apart = spec({ UsernsMode: "host", Devices }, {}, [], ROOT, idMap);
  assert.ok(!apart.linux?.namespaces?.some(({ type }) => type === "user"));
  assert.equal(apart.linux?.uidMappings, undefined);
});

test("another container's shared memory is taken from its mounts, the queues come with the namespace", () => {
  const mounts = spec({ IpcMode: "container:x" }).mounts ?? [];
  const at = (path: string) => mounts.find(({ destination }) => destination === path);
  assert.equal(at("/dev/shm")?.mountNamespace, "/proc/42/ns/mnt");
  assert.equal(at("/dev/mqueue")?.type, "mqueue");
});

test("a plain container: own namespaces, default hardening, files over /etc", () => {
  const plain = spec({}, { Hostname: "box" });
  assert.deepEqual(plain.linux?.namespaces?.map(({ type }) => type).sort(), [
    "ipc",
    "mount",
    "network",
    "pid",
    "uts",
  ]);
  assert.equal(plain.hostname, "box");
  assert.equal(plain.linux?.seccomp?.defaultAction, "SCMP_ACT_ERRNO");
  assert.ok(plain.linux?.maskedPaths?.includes("/proc/kcore"));
  assert.equal(plain.process?.capabilities?.bounding?.length, 14);
  assert.equal(plain.process?.capabilities?.inheritable, undefined);
  const etc = plain.mounts
    ?.filter(({ destination }) => destination.startsWith("/etc/"))
    .map(({ source }) => source);
  assert.deepEqual(etc, ["/r", "/n", "/h"]);
  assert.deepEqual(plain.process?.args, ["sh", "-c", "true"]);
});

test("who is not root starts without capabilities in force", () => {
  const user = spec({}, {}, [], { ...ROOT, uid: 1000 });
  assert.deepEqual(user.process?.capabilities?.effective, []);
  assert.equal(user.process?.capabilities?.bounding?.length, 14);
});

test("privileged: no filter, nothing masked, every capability", () => {
  const privileged = spec({ Privileged: true });
  assert.equal(privileged.linux?.seccomp, undefined);
  assert.equal(privileged.linux?.maskedPaths, undefined);
  assert.ok((privileged.process?.capabilities?.bounding?.length ?? 0) > 35);
});

test("shared namespaces are joined by path, the host's are not made", () => {
  const shared = spec(
    { PidMode: "container:x", NetworkMode: "container:x", IpcMode: "host", UTSMode: "host" },
    { Hostname: "box" },
  );
  assert.deepEqual(
    shared.linux?.namespaces?.find(({ type }) => type === "pid"),
    { type: "pid", path: "/proc/42/ns/pid" },
  );
  assert.deepEqual(
    shared.linux?.namespaces?.find(({ type }) => type === "network"),
    { type: "network", path: "/proc/42/ns/net" },
  );
  assert.ok(!shared.linux?.namespaces?.some(({ type }) => type === "ipc" || type === "uts"));
  assert.equal(shared.hostname, undefined);
  assert.equal(shared.mounts?.find(({ destination }) => destination === "/dev/shm")?.source, "/dev/shm");
});

test("a mount of the user's replaces a default one at the same place", () => {
  const mount = {
    type: "volume",
    volume: "v",
    subpath: "",
    destination: "/data",
    readOnly: true,
    recursive: true,
    propagation: "",
  };
  const mounted = spec({}, {}, [
    mount as ContainerRecord["mounts"][number],
    { ...mount, destination: "/dev/shm" } as ContainerRecord["mounts"][number],
  ]);
  const data = mounted.mounts?.find(({ destination }) => destination === "/data");
  assert.deepEqual(data, {
    destination: "/data",
    type: "bind",
    source: "/host/data",
    options: ["rbind", "ro", "rprivate"],
  });
  assert.equal(mounted.mounts?.filter(({ destination }) => destination === "/dev/shm").length, 1);
});

test("the environment: defaults, the configuration's words, removals, HOME of the user", () => {
  assert.deepEqual(environment(["PATH=/x", "A=1", "HOSTNAME"], true, "box", ROOT), [
    "PATH=/x",
    "TERM=xterm",
    "A=1",
    "HOME=/root",
  ]);
});

test("resource flags", () => {
  const numbers = () => ({ major: 8, minor: 0 });
  assert.deepEqual(containerResources({}, numbers), {});
  assert.deepEqual(
    containerResources(
      { Memory: 64 << 20, NanoCpus: 5e8, PidsLimit: 50, BlkioDeviceReadBps: [{ Path: "/dev/sda", Rate: 1 }] },
      numbers,
    ),
    {
      memory: { limit: 64 << 20 },
      cpu: { period: 100_000, quota: 50_000 },
      blockIO: { throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1 }] },
      pids: { limit: 50 },
    },
  );
});

test("device rules", () => {
  assert.deepEqual(parseDeviceRule("c 1:* rwm"), { type: "c", major: 1, minor: -1, access: "rwm" });
  assert.throws(() => parseDeviceRule("c 1 rwm"), /invalid device cgroup rule format/);
});

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, beforeEach, describe, it } from "node:test";
import { isBerthError } from "#errors/errors.ts";
import {
  completeTypes,
  decodeMessage,
  encodeMessage,
  MESSAGE,
  messageLength,
  variant,
} from "#runtime/cgroups/dbus-codec.ts";
import { FakeSystemd } from "#runtime/cgroups/fake-systemd.test-tool.ts";
import {
  bits,
  deviceProperties,
  resourceProperties,
  scopeProperties,
} from "#runtime/cgroups/systemd-properties.ts";
import {
  createScope,
  socketPath,
  stopScope,
  updateScope,
  userManagerGroup,
} from "#runtime/cgroups/systemd-scope.ts";

const unit = { name: "berth-abc.scope", slice: "system.slice", user: false };
const request = {
  unit,
  pid: 4711,
  id: "abc",
  resources: undefined,
  annotations: undefined,
  cgroupVersion: 2 as const,
};
const systemd = {
  version: 252,
  cgroupVersion: 2 as const,
  procDevices: "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n",
};
const show = (properties: readonly (readonly [string, { signature: string; value: unknown }])[]) =>
  Object.fromEntries(properties.map(([name, { signature, value }]) => [name, [signature, value]]));

describe("messages of D-Bus", () => {
  it("are laid out as the specification has them", () => {
    const bytes = encodeMessage({
      type: MESSAGE.CALL,
      serial: 1,
      path: "/a",
      member: "M",
      signature: "yt",
      body: [7, 5n],
    });
    const text = (length: number, value: string) => [length, 0, 0, 0, ...Buffer.from(value), 0];
    const expected = [
      ...[0x6c, 1, 0, 1, 16, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0],
      ...[1, 1, 0x6f, 0, ...text(2, "/a"), 0, 0, 0, 0, 0],
      ...[3, 1, 0x73, 0, ...text(1, "M"), 0, 0, 0, 0, 0, 0],
      ...[8, 1, 0x67, 0, 2, 0x79, 0x74, 0],
      ...[7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert.equal(messageLength(bytes), bytes.length);
    assert.deepEqual([...bytes], expected);
  });

  it("come back as they were", () => {
    const message = {
      type: MESSAGE.CALL,
      serial: 9,
      path: "/x",
      interface: "a.b",
      member: "M",
      destination: "c.d",
      signature: "sba(sv)auayta(ss)a{sd}",
      body: [
        "tëxt",
        true,
        [
          ["A", variant("au", [1, 2])],
          ["B", variant("a(ss)", [["x", "y"]])],
          ["C", variant("t", 0xffff_ffff_ffff_ffffn)],
        ],
        [],
        [1, 2, 255],
        7n,
        [],
        [
          ["half", 0.5],
          ["none", 0],
        ],
      ],
    };
    const bytes = encodeMessage(message);
    assert.deepEqual(decodeMessage(bytes), message);
    assert.equal(messageLength(bytes.subarray(0, 10)), undefined);
  });

  it("have signatures that fall apart into types", () => {
    assert.deepEqual(completeTypes("ssa(sv)a(sa(sv))u"), ["s", "s", "a(sv)", "a(sa(sv))", "u"]);
    assert.throws(() => completeTypes("a(s"), /incomplete/);
  });
});

describe("properties of a unit", () => {
  it("say the limits in systemd's units", () => {
    const resources = {
      memory: { limit: 100, swap: 150, reservation: 50 },
      cpu: { shares: 1024, quota: 25_500, period: 100_000, cpus: "0-1,9", mems: "0" },
      pids: { limit: 7 },
      unified: { "memory.high": "99", "cpu.max": "max 1000", "io.max": "8:0 rbps=1" },
    };
    assert.deepEqual(show(resourceProperties(resources, systemd)), {
      MemoryMax: ["t", 100n],
      MemoryLow: ["t", 50n],
      MemorySwapMax: ["t", 50n],
      CPUWeight: ["t", 100n],
      AllowedCPUs: ["ay", [3, 2]],
      AllowedMemoryNodes: ["ay", [1]],
      TasksMax: ["t", 7n],
      MemoryHigh: ["t", 99n],
      CPUQuotaPeriodUSec: ["t", 1000n],
      CPUQuotaPerSecUSec: ["t", 0xffff_ffff_ffff_ffffn],
    });
    const quota = show(resourceProperties({ cpu: { quota: 25_500 } }, systemd));
    assert.deepEqual(quota, { CPUQuotaPerSecUSec: ["t", 260_000n] }, "whole percents, rounded up");
  });

  it("are others on version 1, and fewer with an old systemd", () => {
    const resources = {
      memory: { limit: -1 },
      cpu: { shares: 512, period: 5000, cpus: "0" },
      blockIO: { weight: 300 },
    };
    assert.deepEqual(show(resourceProperties(resources, { ...systemd, cgroupVersion: 1, version: 230 })), {
      MemoryLimit: ["t", 0xffff_ffff_ffff_ffffn],
      CPUShares: ["t", 512n],
      BlockIOWeight: ["t", 300n],
      CPUQuotaPerSecUSec: ["t", 0xffff_ffff_ffff_ffffn],
    });
    assert.deepEqual(bits("0,8"), [1, 1]);
  });

  it("allow the devices that the rules allow", () => {
    const rules = [
      { allow: true, type: "c", major: 1, minor: 9 },
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 1, minor: 3, access: "rw" },
      { allow: true, type: "c", major: 136 },
      { allow: true, type: "b", major: 8, access: "r" },
      { allow: true, type: "c", access: "m" },
      { allow: true, type: "c", major: 99 },
    ];
    assert.deepEqual(show(deviceProperties(rules, systemd)), {
      DevicePolicy: ["s", "strict"],
      DeviceAllow: [
        "a(ss)",
        [
          ["/dev/char/1:3", "rw"],
          ["char-pts", "rwm"],
          ["block-sd", "r"],
          ["char-*", "m"],
        ],
      ],
    });
    assert.deepEqual(show(deviceProperties([{ allow: true, access: "rwm" }], systemd)).DevicePolicy, [
      "s",
      "auto",
    ]);
  });

  it("can be given by annotations", () => {
    const annotations = {
      "org.systemd.property.TimeoutStopSec": "90",
      "org.systemd.property.CollectMode": "'inactive-or-failed'",
      "org.systemd.property.TasksMax": "uint64 5",
      "org.systemd.property.Before": "['a.service', 'b.service']",
      other: "x",
    };
    const properties = show(scopeProperties(unit, 1, "abc", annotations));
    assert.deepEqual(properties.TimeoutStopUSec, ["t", 90_000_000n]);
    assert.deepEqual(properties.CollectMode, ["s", "inactive-or-failed"]);
    assert.deepEqual(properties.TasksMax, ["t", 5n]);
    assert.deepEqual(properties.Before, ["as", ["a.service", "b.service"]]);
    assert.equal(properties.other, undefined);
    assert.throws(
      () => scopeProperties(unit, 1, "abc", { "org.systemd.property.X1": "1" }),
      /not a property name/,
    );
  });
});

const noBus = spawnSync("dbus-daemon", ["--version"]).status !== 0 && "no dbus-daemon";

describe("systemd over a message bus", { skip: noBus }, () => {
  let systemd_: FakeSystemd;
  before(async () => {
    systemd_ = await FakeSystemd.start();
    process.env.DBUS_SYSTEM_BUS_ADDRESS = systemd_.address;
    process.env.DBUS_SESSION_BUS_ADDRESS = `${systemd_.address},guid=00`;
  });
  beforeEach(() => {
    systemd_.asked.length = 0;
    systemd_.behave = () => undefined;
  });
  after(async () => {
    delete process.env.DBUS_SYSTEM_BUS_ADDRESS;
    delete process.env.DBUS_SESSION_BUS_ADDRESS;
    await systemd_[Symbol.asyncDispose]();
  });
  const asked = (name: string) => systemd_.asked.find(({ member }) => member === name)?.body ?? [];
  const members = () => systemd_.asked.map(({ member }) => member);

  it("makes a scope around a process", async () => {
    await createScope({
      ...request,
      resources: { pids: { limit: 9 }, devices: [{ allow: false, access: "rwm" }] },
    });
    const [name, mode, properties] = asked("StartTransientUnit") as [
      string,
      string,
      Parameters<typeof show>[0],
    ];
    assert.deepEqual([name, mode], ["berth-abc.scope", "replace"]);
    const told = show(properties);
    assert.deepEqual(told.PIDs, ["au", [4711]]);
    assert.deepEqual(told.Slice, ["s", "system.slice"]);
    assert.deepEqual(told.Delegate, ["b", true]);
    assert.deepEqual(told.TasksMax, ["t", 9n]);
    assert.deepEqual(told.DevicePolicy, ["s", "strict"]);
    assert.ok(members().indexOf("Subscribe") < members().indexOf("StartTransientUnit"));
  });

  it("hears of a job that has ended before it knows the job", async () => {
    systemd_.behave = ({ member }) =>
      member === "StartTransientUnit" ? { job: "done", signalFirst: true } : undefined;
    await createScope(request);
  });

  it("tries again where a failed unit has the name, once", async () => {
    let times = 0;
    systemd_.behave = ({ member }) =>
      member === "StartTransientUnit" && times++ === 0 ? { error: "UnitExists" } : undefined;
    await createScope(request);
    assert.ok(members().includes("ResetFailedUnit"));
    systemd_.behave = ({ member }) => (member === "StartTransientUnit" ? { error: "UnitExists" } : undefined);
    await assert.rejects(createScope(request), /unable to start unit berth-abc.scope: refused: UnitExists/);
  });

  it("does not wait for a job's end on a connection that is lost", async () => {
    await using other = await FakeSystemd.start();
    const address = process.env.DBUS_SYSTEM_BUS_ADDRESS;
    process.env.DBUS_SYSTEM_BUS_ADDRESS = other.address;
    other.behave = ({ member }) => (member === "StartTransientUnit" ? { job: "never" } : undefined);
    other.onAnswered = () => other.vanish();
    try {
      await assert.rejects(createScope(request), /closed the connection/);
    } finally {
      process.env.DBUS_SYSTEM_BUS_ADDRESS = address;
    }
  });

  it("says what became of a job that has failed", async () => {
    systemd_.behave = ({ member }) => (member === "StartTransientUnit" ? { job: "failed" } : undefined);
    await assert.rejects(createScope(request), /error creating systemd unit berth-abc.scope: got failed/);
  });

  it("stops a unit, and takes a missing one for stopped", async () => {
    await stopScope(unit);
    assert.deepEqual(systemd_.asked.find(({ member }) => member === "StopUnit")?.body, [
      unit.name,
      "replace",
    ]);
    systemd_.behave = ({ member }) => (member === "StopUnit" ? { error: "NoSuchUnit" } : undefined);
    await stopScope(unit);
    systemd_.behave = ({ member }) => (member === "StopUnit" ? { error: "Nope" } : undefined);
    await assert.rejects(stopScope(unit), /unable to stop unit/);
  });

  it("changes the limits of a unit", async () => {
    await updateScope(unit, { memory: { limit: 5 } }, 2);
    const call = systemd_.asked.find(({ member }) => member === "SetUnitProperties");
    assert.deepEqual(call?.body, [unit.name, true, [["MemoryMax", variant("t", 5n)]]]);
    systemd_.asked.length = 0;
    await updateScope(unit, {}, 2);
    assert.ok(!members().includes("SetUnitProperties"), "nothing to change, nothing asked");
  });

  it("asks the user's own manager on the session bus", async () => {
    assert.equal(await userManagerGroup(), "/user.slice/user-7.slice/user@7.service");
    await createScope({
      ...request,
      unit: { ...unit, user: true },
      resources: { devices: [{ allow: false }] },
    });
    const [, , properties] = asked("StartTransientUnit");
    assert.equal(show(properties as never).DevicePolicy, undefined, "a user's manager restricts no devices");
  });

  it("is missed with a clear word where nobody answers", async () => {
    const address = process.env.DBUS_SYSTEM_BUS_ADDRESS;
    process.env.DBUS_SYSTEM_BUS_ADDRESS = "unix:path=/nowhere/bus";
    try {
      await assert.rejects(createScope(request), (error) => {
        assert.ok(isBerthError(error, "unavailable"));
        assert.match(error.message, /systemd support for managing cgroups is not available/);
        return true;
      });
    } finally {
      process.env.DBUS_SYSTEM_BUS_ADDRESS = address;
    }
  });

  it("is found by its address", () => {
    assert.equal(socketPath("tcp:host=x;unix:guid=1,path=/a%20b"), "/a b");
    assert.equal(socketPath("unix:abstract=/x,guid=1"), "\0/x");
    assert.equal(socketPath("tcp:host=x"), undefined);
  });
});

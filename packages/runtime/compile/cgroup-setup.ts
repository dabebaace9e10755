/**
 * The container's control groups: made and limited by the shim, joined by the container's first process itself.
 *
 * On version 1 the process writes "0" to `tasks`: the first write to `cgroup.procs` on an idle system waits for an RCU
 * grace period (8 to 15 ms), and a single-threaded process needs no such care. On version 2 it is born inside.
 */
import type { Label, Register } from "#program/types.ts";
import { ANY_ERRNO } from "#program/types.ts";
import type { CgroupWrite } from "#runtime/cgroups/cgroup-write.ts";
import {
  type CgroupDirectory,
  type CgroupOwner,
  cgroupDirectories,
  placementOf,
} from "#runtime/cgroups/container-cgroup.ts";
import {
  BPF_CGROUP_DEVICE,
  BPF_PROG_TYPE_CGROUP_DEVICE,
  deviceFilter,
} from "#runtime/cgroups/device-filter.ts";
import { limitsV1 } from "#runtime/cgroups/limits-v1.ts";
import { limitsV2 } from "#runtime/cgroups/limits-v2.ts";
import { DELEGATED } from "#runtime/cgroups/parent-group.ts";
import { AT_FDCWD, ERRNO } from "#runtime/compile/kernel-constants.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";
import type { SpecDeviceRule, SpecResources } from "#runtime/spec-types.ts";

/** Longest list of processors or memory nodes that is copied. */
const CPUSET_ROOM = 4096;
const F_OK = 0;
const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_F_ALLOW_MULTI = 2;

/**
 * Makes the groups and writes the limits. For the daemon's containers a weight that no I/O scheduler has is passed over:
 * the engine has told so. For those with a placement everything has been checked, and has to be done.
 */
export function makeCgroups(
  w: ProgramWriter,
  layout: CgroupLayout,
  owner: CgroupOwner,
  resources: SpecResources = {},
): void {
  const directories = cgroupDirectories(layout, owner);
  const placed = placementOf(owner);
  for (const directory of directories) makeGroup(w, directory, layout);
  const { devices, ...others } = resources;
  const wanted: SpecResources = devices && !placed?.rootless ? resources : others;
  const writes = layout.version === 2 ? limitsV2(wanted) : limitsV1(wanted);
  const lenient = writes.map((entry) => (entry.unless === undefined ? entry : { ...entry, optional: true }));
  writeLimits(w, directories, layout, placed === undefined ? lenient : writes);
}

/** Is the process cloned into its group, or does it get there later? Groups of systemd's are made around a process. */
export function isBornInGroup(layout: CgroupLayout, owner: CgroupOwner): boolean {
  if (layout.version === 1 || placementOf(owner)?.unit !== undefined) return false;
  return cgroupDirectories(layout, owner).length > 0;
}

function makeGroup(w: ProgramWriter, directory: CgroupDirectory, layout: CgroupLayout): void {
  const { b } = w;
  const why = `make control group ${directory.path}`;
  const done = b.label(`have ${directory.path}`);
  const retry = b.label(`parents of ${directory.path}`);
  const mkdir = (path: string, into: Register, ignore: number, reason: string) =>
    b.sys("mkdirat", [AT_FDCWD, b.cstr(path), 0o755], { into, ignore, why: reason });
  w.borrow((made) => {
    mkdir(directory.path, made, ANY_ERRNO, why);
    b.jumpIfNegative(made, retry);
    b.jump(done);
    // It is there already, or its parents are not.
    b.place(retry);
    for (const { path, above } of parentsOf(directory)) {
      const old = b.label(`${path} is old`);
      mkdir(path, made, ERRNO.EEXIST, `make control group ${path}`);
      b.jumpIfNegative(made, old);
      if (layout.version === 1 && directory.controllers.includes("cpuset")) inheritCpuset(w, above, path);
      if (layout.version === 2) {
        passDown(w, above, layout);
        passDown(w, path, layout);
      }
      b.place(old);
    }
    mkdir(directory.path, made, ERRNO.EEXIST, why);
    b.place(done);
  });
  if (layout.version === 1 && directory.controllers.includes("cpuset")) fillCpusets(w, directory);
}

/**
 * Above us others may have made groups without processors, in which ours has none either: those are filled from the top.
 * What isn't empty is somebody's choice and stays.
 */
function fillCpusets(w: ProgramWriter, directory: CgroupDirectory): void {
  const { b } = w;
  const filled = b.label("the cpuset is filled");
  unlessEmpty(w, `${directory.path}/cpuset.cpus`, filled);
  const path = directory.path.replace(/\/[^/]+$/, "");
  for (const group of [...parentsOf(directory), { path: directory.path, above: path }]) {
    const next = b.label(`${group.path} has processors`);
    unlessEmpty(w, `${group.path}/cpuset.cpus`, next);
    inheritCpuset(w, group.above, group.path);
    b.place(next);
  }
  b.place(filled);
}

/** Goes there if the file has more than the line's end. */
function unlessEmpty(w: ProgramWriter, file: string, there: Label): void {
  const { b, O } = w;
  const why = `look at ${file}`;
  w.borrow((fd) => {
    w.borrow((length) => {
      w.open(file, O.RDONLY, fd, why);
      b.sys("pread64", [fd, b.scratch(8, 1), 8, 1], { into: length, why });
      w.close(fd);
      b.jumpIfNotZero(length, there);
    });
  });
}

/** The groups between hierarchy root and container, uppermost first, each with the one above it. */
function parentsOf({ root, path }: CgroupDirectory): { path: string; above: string }[] {
  const names = path.slice(root.length).split("/").filter(Boolean).slice(0, -1);
  return names.map((name, index) => {
    const above = [root, ...names.slice(0, index)].join("/");
    return { path: `${above}/${name}`, above };
  });
}

/** A new cpuset is empty and takes no process; from this one on the kernel fills those below. */
function inheritCpuset(w: ProgramWriter, from: string, to: string): void {
  const { b, O } = w;
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    const why = `take over ${file} from ${from}`;
    const room = b.scratch(CPUSET_ROOM, 1);
    w.borrow((fd) => {
      w.borrow((length) => {
        w.open(`${from}/${file}`, O.RDONLY, fd, why);
        b.sys("read", [fd, room, CPUSET_ROOM], { into: length, why });
        w.close(fd);
        w.open(`${to}/${file}`, O.WRONLY, fd, why);
        b.sys("write", [fd, room, length], { full: true, why });
        w.close(fd);
      });
    });
  }
  w.writeFile(`${to}/cgroup.clone_children`, "1", `let groups below ${to} inherit its processors`);
}

function passDown(w: ProgramWriter, path: string, layout: CgroupLayout): void {
  const controllers = layout.v2Controllers.filter((name) => DELEGATED.includes(name));
  if (controllers.length === 0) return;
  const text = controllers.map((name) => `+${name}`).join(" ");
  w.writeFile(`${path}/cgroup.subtree_control`, text, `pass controllers down from ${path}`);
}

function writeLimits(
  w: ProgramWriter,
  directories: readonly CgroupDirectory[],
  layout: CgroupLayout,
  writes: readonly CgroupWrite[],
): void {
  const { b, O } = w;
  let from = 0;
  while (from < writes.length) {
    const first = writes[from] as CgroupWrite;
    let until = from + 1;
    while (writes[until]?.file === first.file && writes[until]?.unless === first.unless) until++;
    const values = writes.slice(from, until).map(({ value }) => value);
    from = until;
    const directory = directories.find(
      ({ controllers }) => layout.version === 2 || controllers.includes(first.controller),
    );
    // A controller the host doesn't have: the engine has said so when the container was made.
    if (directory === undefined) continue;
    const why = (value: string) => `set ${first.file} to ${value}`;
    w.borrow((fd) => {
      const missing = b.label(`no ${first.file}`);
      if (first.unless !== undefined) {
        const needed = b.label(`${first.file} instead`);
        const other = b.cstr(`${directory.path}/${first.unless}`);
        b.sys("faccessat", [AT_FDCWD, other, F_OK], {
          into: fd,
          ignore: ERRNO.ENOENT,
          why: `look for ${first.unless}`,
        });
        b.jumpIfNegative(fd, needed);
        b.jump(missing);
        b.place(needed);
      }
      const ignore = first.optional ? { ignore: ERRNO.ENOENT } : {};
      w.open(`${directory.path}/${first.file}`, O.WRONLY, fd, why(values[0] ?? ""), ignore);
      if (first.optional) b.jumpIfNegative(fd, missing);
      for (const value of values) w.writeText(fd, value, why(value));
      w.close(fd);
      b.place(missing);
    });
  }
}

/** Version 2: the group's descriptor, with the device filter attached. */
export function openGroup(
  w: ProgramWriter,
  layout: CgroupLayout,
  owner: CgroupOwner,
  devices: readonly SpecDeviceRule[] | undefined,
  into: Register,
): void {
  const directory = cgroupDirectories(layout, owner)[0];
  if (directory === undefined) throw new Error("no control group hierarchy");
  w.open(directory.path, w.O.RDONLY | w.O.DIRECTORY, into, `open control group ${directory.path}`);
  if (!devices?.length || placementOf(owner)?.rootless) return;
  attachDeviceFilter(w, devices, into);
}

function attachDeviceFilter(w: ProgramWriter, rules: readonly SpecDeviceRule[], group: Register): void {
  const { b } = w;
  const filter = deviceFilter(rules);
  // union bpf_attr for BPF_PROG_LOAD: type, count, program, licence; the rest zero.
  const load = new Uint8Array(72);
  const view = new DataView(load.buffer);
  view.setUint32(0, BPF_PROG_TYPE_CGROUP_DEVICE, true);
  view.setUint32(4, filter.length / 8, true);
  const attributes = b.struct(load, [
    { at: 8, to: b.bytes(filter) },
    { at: 16, to: b.cstr("Apache-2.0") },
  ]);
  w.borrow((program) => {
    const why = "load the device filter";
    b.sys("bpf", [BPF_PROG_LOAD, attributes, attributes.length], { into: program, why });
    // For BPF_PROG_ATTACH: target, program, type, flags.
    const constants = new Uint8Array(20);
    new DataView(constants.buffer).setUint32(8, BPF_CGROUP_DEVICE, true);
    new DataView(constants.buffer).setUint32(12, BPF_F_ALLOW_MULTI, true);
    const call = b.bytes(constants);
    b.store(group, b.slice(call, 0, 4), 4);
    b.store(program, b.slice(call, 4, 4), 4);
    b.sys("bpf", [BPF_PROG_ATTACH, call, call.length], { why: "attach the device filter" });
    w.close(program);
  });
}

/** Version 1: the calling process joins. Before the root changes. */
export function joinCgroups(w: ProgramWriter, layout: CgroupLayout, owner: CgroupOwner): void {
  if (layout.version === 2) return;
  for (const { path } of cgroupDirectories(layout, owner)) {
    w.writeFile(`${path}/tasks`, "0", `join control group ${path}`);
  }
}

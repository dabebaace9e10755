/**
 * The group above all containers, made ready once when the daemon starts: on version 1 new cpusets must take over the
 * parent's processors to be usable at all, on version 2 controllers must be passed down. The program of each container
 * does the same for a parent of its own that it had to make.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { PARENT } from "#runtime/cgroups/container-cgroup.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Controllers passed down on version 2, where the host has them. */
export const DELEGATED = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];

/** Idempotent. Throws what the file system says if a hierarchy is read-only. */
export function prepareParentGroup(layout: CgroupLayout, parent = PARENT): void {
  const names = parent.split("/").filter(Boolean);
  const roots = layout.version === 2 ? [layout.v2 as string] : [...new Set(Object.values(layout.v1))];
  for (const root of roots) {
    if (layout.version === 2) passDown(root, layout);
    let path = root;
    for (const name of names) {
      const above = path;
      path = `${path}/${name}`;
      mkdirSync(path, { recursive: true, mode: 0o755 });
      if (layout.version === 2) passDown(path, layout);
      else if (root === layout.v1.cpuset) inheritCpuset(above, path);
    }
  }
}

function passDown(path: string, layout: CgroupLayout): void {
  const controllers = layout.v2Controllers.filter((name) => DELEGATED.includes(name));
  if (controllers.length === 0) return;
  writeFileSync(`${path}/cgroup.subtree_control`, controllers.map((name) => `+${name}`).join(" "));
}

function inheritCpuset(from: string, to: string): void {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if (readFileSync(`${to}/${file}`, "utf8").trim() !== "") continue;
    writeFileSync(`${to}/${file}`, readFileSync(`${from}/${file}`, "utf8"));
  }
  // From here on the kernel does the same for every new group below.
  writeFileSync(`${to}/cgroup.clone_children`, "1");
}

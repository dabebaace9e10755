/** Limits: as the kernel has them. */
import { readFileSync } from "node:fs";
import type { SpecResources } from "#runtime/spec-types.ts";
import type { Case, Rig } from "#test/oci/rig.ts";

/** A file of the container's group, by the process' own table. */
function value(rig: Rig, id: string, controller: string, file: string): string {
  const line = readFileSync(`/proc/${rig.pid(id)}/cgroup`, "utf8")
    .split("\n")
    .find((entry) => entry.split(":")[1]?.split(",").includes(controller));
  const path = line?.split(":")[2] ?? "";
  return readFileSync(`/sys/fs/cgroup/${controller}${path}/${file}`, "utf8").trim();
}

const limits = (
  name: string,
  resources: SpecResources,
  files: [controller: string, file: string][],
): Case => ({
  name,
  run(rig) {
    const id = rig.sleeper((spec) => {
      spec.linux.resources = { ...spec.linux.resources, ...resources };
    });
    for (const [controller, file] of files) rig.see(file, value(rig, id, controller, file));
    rig.oci(["delete", "-f", id]);
  },
});

export const cgroupCases: Case[] = [
  limits("memory", { memory: { limit: 64 << 20, swap: 128 << 20, reservation: 32 << 20 } }, [
    ["memory", "memory.limit_in_bytes"],
    ["memory", "memory.memsw.limit_in_bytes"],
    ["memory", "memory.soft_limit_in_bytes"],
  ]),
  limits("swappiness and the OOM killer", { memory: { swappiness: 10, disableOOMKiller: true } }, [
    ["memory", "memory.swappiness"],
    ["memory", "memory.oom_control"],
  ]),
  limits("processor time", { cpu: { shares: 512, quota: 50000, period: 100000 } }, [
    ["cpu", "cpu.shares"],
    ["cpu", "cpu.cfs_quota_us"],
    ["cpu", "cpu.cfs_period_us"],
  ]),
  limits("processors", { cpu: { cpus: "1", mems: "0" } }, [
    ["cpuset", "cpuset.cpus"],
    ["cpuset", "cpuset.mems"],
  ]),
  limits("processes", { pids: { limit: 20 } }, [["pids", "pids.max"]]),
  {
    name: "the limit on processes holds",
    run(rig) {
      const id = rig.sleeper((spec) => {
        spec.linux.resources = { ...spec.linux.resources, pids: { limit: 4 } };
      });
      const script = "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done 2>/dev/null; echo through";
      rig.see("fork", rig.oci(["exec", id, "sh", "-c", script]).code === 0);
      rig.oci(["delete", "-f", id]);
    },
  },
  {
    name: "update",
    run(rig) {
      const id = rig.sleeper((spec) => {
        spec.linux.resources = { ...spec.linux.resources, memory: { limit: 64 << 20 } };
      });
      rig.see(
        "by options",
        rig.oci(["update", "--memory", "50331648", "--pids-limit", "33", "--cpu-share", "700", id]).code,
      );
      rig.see("memory", value(rig, id, "memory", "memory.limit_in_bytes"));
      rig.see("pids", value(rig, id, "pids", "pids.max"));
      rig.see("cpu", value(rig, id, "cpu", "cpu.shares"));
      const input = JSON.stringify({ memory: { limit: 100 << 20 }, cpu: { shares: 300 } });
      rig.see("from stdin", rig.oci(["update", "-r", "-", id], { input }).code);
      rig.see("memory again", value(rig, id, "memory", "memory.limit_in_bytes"));
      rig.see("cpu again", value(rig, id, "cpu", "cpu.shares"));
      rig.oci(["delete", "-f", id]);
    },
  },
  {
    name: "counters",
    run(rig) {
      // crun has no events command.
      if (rig.runtime === "crun") return;
      const id = rig.sleeper();
      const { type, id: named, data } = JSON.parse(rig.oci(["events", "--stats", id]).stdout);
      // A count of nothing is left out, and pages of files are there by chance.
      const memory = Object.keys(data.memory).filter((name) => name !== "cache");
      rig.see("form", [type, named === id, Object.keys(data).sort(), memory.sort()]);
      rig.see("pids", data.pids);
      rig.oci(["delete", "-f", id]);
    },
  },
  {
    name: "a path of the configuration's",
    run(rig) {
      const name = rig.id();
      const id = rig.sleeper((spec) => {
        spec.linux.cgroupsPath = `/${name}/inner`;
      });
      const lines = readFileSync(`/proc/${rig.pid(id)}/cgroup`, "utf8").split("\n");
      rig.see(
        "path",
        lines
          .find((line) => line.includes(":pids:"))
          ?.split(":")[2]
          ?.replace(name, "<name>"),
      );
      rig.oci(["delete", "-f", id]);
      rig.command(["sh", "-c", `find /sys/fs/cgroup -maxdepth 2 -type d -name ${name} -exec rmdir {} ';'`]);
    },
  },
];

/** Bundles that cannot be run: a failure, one line, and nothing left. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Case, FullSpec, Rig } from "#test/oci/rig.ts";

function refused(
  name: string,
  change: (spec: FullSpec) => void,
  field: RegExp,
  differs?: Case["differs"],
): Case {
  return {
    name,
    run(rig) {
      rig.configure((spec) => {
        spec.process.args = ["true"];
        change(spec);
      });
      see(rig, field);
    },
    ...(differs && { differs }),
  };
}

function see(rig: Rig, field: RegExp): void {
  const id = rig.id();
  const { code, stderr } = rig.oci(["run", "-b", rig.bundle, id]);
  rig.see("refused", code !== 0);
  if (rig.runtime !== "berth") rig.oci(["delete", "-f", id]);
  else {
    // Ours says which field it is, on one line.
    rig.see(
      "berth names the field",
      field.test(stderr) && stderr.trim().split("\n").length === 1 ? undefined : stderr,
    );
  }
}

const lenient = {
  refused: "the peers warn or pass it over; a configuration that cannot be meant is refused here",
};

export const refusalCases: Case[] = [
  refused(
    "no root file system",
    (spec) => {
      spec.root.path = "nosuch";
    },
    /root\.path|rootfs/,
  ),
  refused(
    "an unknown capability",
    (spec) => {
      spec.process.capabilities?.bounding?.push("CAP_NOSUCH");
    },
    /CAP_NOSUCH/,
    lenient,
  ),
  refused(
    "a namespace twice",
    (spec) => {
      spec.linux.namespaces?.push({ type: "pid" });
    },
    /namespace.*pid|pid.*namespace/,
  ),
  refused(
    "an unknown namespace",
    (spec) => {
      spec.linux.namespaces?.push({ type: "nosuch" as "pid" });
    },
    /nosuch/,
  ),
  refused(
    "a negative limit",
    (spec) => {
      spec.linux.resources = { ...spec.linux.resources, memory: { limit: -5 } };
    },
    /memory\.limit/,
    lenient,
  ),
  refused(
    "an unknown resource limit",
    (spec) => {
      spec.process.rlimits = [{ type: "RLIMIT_NOSUCH", soft: 1, hard: 1 }];
    },
    /RLIMIT_NOSUCH/,
  ),
  refused(
    "a mount outside of the root",
    (spec) => {
      spec.mounts.push({ destination: "/../../mnt", type: "bind", source: "/nosuch", options: ["bind"] });
    },
    /\/nosuch|mnt/,
  ),
  refused(
    "a mount over /proc/self",
    (spec) => {
      spec.mounts.push({ destination: "/proc/self", type: "tmpfs", source: "tmpfs" });
    },
    /\/proc/,
  ),
  refused(
    "an unknown seccomp action",
    (spec) => {
      spec.linux.seccomp = { defaultAction: "SCMP_ACT_NOSUCH" as "SCMP_ACT_ALLOW" };
    },
    /SCMP_ACT_NOSUCH/,
  ),
  refused(
    "a sysctl of the host",
    (spec) => {
      spec.linux.sysctl = { "kernel.panic": "1" };
    },
    /kernel\.panic/,
  ),
  refused(
    "a namespace's path that isn't there",
    (spec) => {
      spec.linux.namespaces = (spec.linux.namespaces ?? []).map((one) =>
        one.type === "ipc" ? { ...one, path: "/nosuch" } : one,
      );
    },
    /\/nosuch/,
  ),
  refused(
    "no arguments",
    (spec) => {
      spec.process.args = [];
    },
    /args|command/,
  ),
  refused(
    "a relative working directory",
    (spec) => {
      spec.process.cwd = "etc";
    },
    /cwd|working directory/,
  ),
  refused(
    "another version of the specification",
    (spec) => {
      spec.ociVersion = "nonsense";
    },
    /ociVersion/,
    lenient,
  ),
  {
    name: "no configuration, or none that can be read",
    run(rig) {
      rig.configure(() => {});
      writeFileSync(join(rig.bundle, "config.json"), '{"ociVersion": "1.0.0",');
      see(rig, /not JSON/);
      rmSync(join(rig.bundle, "config.json"));
      rig.see("none", rig.oci(["run", "-b", rig.bundle, rig.id()]).code !== 0);
    },
  },
  {
    name: "a terminal for nobody",
    run(rig) {
      rig.configure((spec) => {
        spec.process.terminal = true;
      });
      rig.see("create", rig.oci(["create", "-b", rig.bundle, rig.id()]).code !== 0);
      rig.configure((spec) => {
        spec.process.args = ["true"];
      });
      rig.see(
        "console socket",
        rig.oci(["create", "-b", rig.bundle, "--console-socket", "/nosuch", rig.id()]).code !== 0,
      );
    },
    differs: { "console socket": "crun passes a socket over that it has no use for" },
  },
  {
    name: "ids that are none",
    run(rig) {
      rig.configure((spec) => {
        spec.process.args = ["true"];
      });
      for (const id of ["../up", "a/b", ""])
        rig.see(`id ${id}`, rig.oci(["run", "-b", rig.bundle, id]).code !== 0);
    },
  },
];

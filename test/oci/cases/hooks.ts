/** Hooks: their order, their input, their failures. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { HookName, SpecHook } from "#runtime/spec-types.ts";
import type { Case, FullSpec, Rig } from "#test/oci/rig.ts";

const ALL: HookName[] = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
];

function hook(name: HookName, script: string, timeout?: number): SpecHook {
  const path = name === "startContainer" ? "/bin/busybox" : "/bin/sh";
  return { path, args: ["sh", "-c", script], env: ["PATH=/usr/bin:/bin"], ...(timeout && { timeout }) };
}

const log = (rig: Rig, name: HookName) => (name === "startContainer" ? "/hooks" : join(rig.rootfs, "hooks"));

function failing(name: HookName, seen: (rig: Rig, code: number | null, id: string) => void): Case {
  return {
    name: `${name} that fails`,
    run(rig) {
      rig.configure((spec) => {
        spec.process.args = ["true"];
        spec.hooks = { [name]: [hook(name, "exit 3")] };
      });
      const id = rig.id();
      const { code } = rig.oci(["run", "-b", rig.bundle, id]);
      seen(rig, code, id);
      rig.oci(["delete", "-f", id]);
    },
  };
}

export const hookCases: Case[] = [
  {
    name: "all six, in order, with the state",
    run(rig) {
      const file = join(rig.rootfs, "hooks");
      rmSync(file, { force: true });
      rig.configure((spec: FullSpec) => {
        spec.process.args = ["sleep", "0.2"];
        // The state's status only: what else is in it is not the same for all.
        const script = (name: HookName) =>
          `echo ${name} $(sed 's/.*"status": *"\\([a-z]*\\)".*/\\1/' | head -n1) >> ${log(rig, name)}`;
        spec.hooks = Object.fromEntries(ALL.map((name) => [name, [hook(name, script(name))]]));
      });
      const ran = rig.oci(["run", "-b", rig.bundle, rig.id()]);
      rig.see("run", ran.code);
      const lines = readFileSync(file, "utf8").trim().split("\n");
      const names = lines.map((line) => line.split(" ")[0]);
      // The peers let the container go before they run poststart: which of the two writes first is chance.
      rig.see(
        "order",
        names.filter((name) => name !== "startContainer"),
      );
      rig.see("startContainer", names.indexOf("startContainer") > names.indexOf("createContainer"));
      rig.see("statuses", lines);
      rmSync(file);
    },
    differs: { statuses: "runc and crun disagree about creating and created; ours are the specification's" },
  },
  failing("prestart", (rig, code) => rig.see("run fails", code !== 0)),
  failing("createRuntime", (rig, code) => rig.see("run fails", code !== 0)),
  failing("createContainer", (rig, code) => rig.see("run fails", code !== 0)),
  failing("startContainer", (rig, code) => rig.see("run fails", code !== 0)),
  {
    name: "one that takes too long",
    run(rig) {
      rig.configure((spec) => {
        spec.process.args = ["true"];
        spec.hooks = { createRuntime: [hook("createRuntime", "exec sleep 30", 1)] };
      });
      const id = rig.id();
      rig.see("run fails", rig.oci(["run", "-b", rig.bundle, id]).code !== 0);
      rig.oci(["delete", "-f", id]);
    },
  },
  {
    name: "poststop runs at delete",
    async run(rig) {
      const file = join(rig.directory, "stopped");
      const id = rig.sleeper((spec) => {
        spec.hooks = { poststop: [hook("poststop", `touch ${file}`)] };
      });
      rig.oci(["kill", id, "KILL"]);
      await rig.becomes(id, "stopped");
      rig.see("before", existsSync(file));
      rig.oci(["delete", id]);
      rig.see("after", existsSync(file));
      rmSync(file, { force: true });
    },
  },
];

/** Further processes in a container. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Case, Rig } from "#test/oci/rig.ts";

function inside(rig: Rig, options: string[], script: string) {
  const id = rig.sleeper();
  const ran = rig.oci(["exec", ...options, id, "sh", "-c", script]);
  rig.oci(["delete", "-f", id]);
  return { code: ran.code, stdout: ran.stdout.trim() };
}

export const execCases: Case[] = [
  {
    name: "exit codes and streams",
    run(rig) {
      rig.see("output", inside(rig, [], "echo out; echo err >&2; exit 3"));
      rig.see("signal", inside(rig, [], "kill -9 $$").code);
    },
  },
  {
    name: "a command that isn't there",
    run(rig) {
      const id = rig.sleeper();
      // crun has 1 for it.
      if (rig.runtime !== "crun") {
        rig.see("no container", rig.oci(["exec", `${id}-other`, "true"]).code);
        rig.see("no configuration", rig.oci(["exec", "--process", "/nosuch", id]).code);
      }
      rig.see("by name", rig.oci(["exec", id, "nosuch"]).code);
      rig.see("by path", rig.oci(["exec", id, "/nosuch"]).code);
      rig.see("a directory", rig.oci(["exec", id, "/etc"]).code);
      rig.see("not executable", rig.oci(["exec", id, "/etc/plain"]).code);
      rig.oci(["delete", "-f", id]);
    },
  },
  {
    name: "user, groups, directory, environment",
    run(rig) {
      rig.see("user", inside(rig, ["-u", "1000:1001"], "id -u; id -g"));
      rig.see("user alone", inside(rig, ["-u", "1000"], "id -u; id -g"));
      rig.see("cwd", inside(rig, ["--cwd", "/tmp"], "pwd"));
      rig.see("env", inside(rig, ["-e", "A=1", "-e", "B=2"], "echo $A $B $PATH"));
    },
  },
  {
    name: "capabilities and privileges",
    run(rig) {
      rig.see("usual", inside(rig, [], "grep -E 'Cap|NoNewPrivs' /proc/self/status"));
      rig.see("cap", inside(rig, ["--cap", "CAP_SYS_ADMIN"], "grep -E 'Cap(Bnd|Prm|Eff)' /proc/self/status"));
      rig.see("no new", inside(rig, ["--no-new-privs"], "grep NoNewPrivs /proc/self/status"));
    },
  },
  {
    name: "the container's namespaces, limits and groups are the process'",
    run(rig) {
      const compare =
        "for n in cgroup ipc mnt net pid uts; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] && echo $n; done";
      rig.see("namespaces", inside(rig, [], compare));
      rig.see("limit", inside(rig, [], "ulimit -n"));
      rig.see(
        "groups",
        inside(
          rig,
          [],
          '[ "$(grep :pids: /proc/1/cgroup)" = "$(grep :pids: /proc/self/cgroup)" ] && echo same',
        ),
      );
      rig.see("descriptors", inside(rig, [], "ls /proc/self/fd > /tmp/l; wc -l < /tmp/l"));
    },
  },
  {
    name: "detached, with a pid file",
    run(rig) {
      const id = rig.sleeper();
      const file = join(rig.directory, "exec-pid");
      rig.see("exec", rig.oci(["exec", "-d", "--pid-file", file, id, "sleep", "999"]).code);
      const alive = rig.command(["sh", "-c", `tr '\\0' ' ' < /proc/$(cat ${file})/cmdline`]).stdout;
      rig.see("process", alive.trim());
      rig.oci(["delete", "-f", id]);
    },
  },
  {
    name: "a process from a file",
    run(rig) {
      const id = rig.sleeper();
      const path = join(rig.directory, "process.json");
      const process_ = {
        terminal: false,
        user: { uid: 5, gid: 6 },
        args: ["sh", "-c", "id -u; pwd; echo $X"],
        env: ["X=y", "PATH=/bin"],
        cwd: "/etc",
      };
      writeFileSync(path, JSON.stringify(process_));
      const ran = rig.oci(["exec", "--process", path, id]);
      rig.see("output", [ran.code, ran.stdout]);
      writeFileSync(path, "{");
      rig.see("not JSON", rig.oci(["exec", "--process", path, id]).code === 0);
      rig.oci(["delete", "-f", id]);
    },
  },
  {
    name: "in a container that is only created",
    run(rig) {
      rig.configure((spec) => {
        spec.process.args = ["sleep", "1000"];
      });
      const id = rig.id();
      rig.oci(["create", "-b", rig.bundle, id]);
      const ran = rig.oci(["exec", id, "echo", "early"]);
      rig.see("exec", [ran.code, ran.stdout.trim()]);
      rig.oci(["delete", "-f", id]);
    },
  },
];

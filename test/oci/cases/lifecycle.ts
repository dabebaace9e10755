/** From create to delete, in and out of order. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Case, Rig } from "#test/oci/rig.ts";

function create(rig: Rig, args = ["sleep", "1000"]): string {
  rig.configure((spec) => {
    spec.process.args = args;
  });
  const id = rig.id();
  rig.see(`create ${rig.seen.size}`, rig.oci(["create", "-b", rig.bundle, id]).code);
  return id;
}
const gone = (rig: Rig, id: string) => rig.oci(["delete", "-f", id]);

export const lifecycleCases: Case[] = [
  {
    name: "create, start, kill, delete",
    async run(rig) {
      const id = create(rig);
      rig.see("after create", rig.status(id));
      rig.see("start", rig.oci(["start", id]).code);
      rig.see("after start", rig.status(id));
      rig.see("kill", rig.oci(["kill", id, "KILL"]).code);
      await rig.becomes(id, "stopped");
      rig.see("pid of a stopped one", rig.pid(id));
      rig.see("delete", rig.oci(["delete", id]).code);
      rig.see("state", rig.oci(["state", id]).code);
    },
  },
  {
    name: "state has the specification's fields",
    run(rig) {
      const id = create(rig);
      const state = JSON.parse(rig.oci(["state", id]).stdout);
      rig.see("id", state.id === id);
      rig.see("bundle", state.bundle);
      rig.see("status", state.status);
      rig.see("pid", state.pid > 0);
      rig.see("version", typeof state.ociVersion);
      rig.see("rootfs", state.rootfs);
      gone(rig, id);
    },
  },
  {
    name: "an ended process leaves a stopped container",
    async run(rig) {
      const id = create(rig, ["true"]);
      rig.oci(["start", id]);
      await rig.becomes(id, "stopped");
      rig.see("exec", rig.oci(["exec", id, "true"]).code);
      rig.see("kill", rig.oci(["kill", id]).code);
      rig.see("pause", rig.oci(["pause", id]).code);
      rig.see("start", rig.oci(["start", id]).code);
      rig.see("delete", rig.oci(["delete", id]).code);
    },
  },
  {
    name: "run hands back the exit code and leaves nothing",
    run(rig) {
      rig.script("exit code 7", "exit 7");
      rig.script("killed by a signal", "kill -9 $$");
      rig.script("terminated", "trap - TERM; kill -TERM $$; echo still there");
    },
  },
  {
    name: "run passes stdin on",
    run(rig) {
      rig.configure((spec) => {
        spec.process.args = ["wc", "-l"];
      });
      const ran = rig.oci(["run", "-b", rig.bundle, rig.id()], { input: "a\nb\n" });
      rig.see("lines", [ran.code, ran.stdout.trim()]);
    },
  },
  {
    name: "run -d comes back at once, with a pid file",
    run(rig) {
      rig.configure((spec) => {
        spec.process.args = ["sleep", "1000"];
      });
      const id = rig.id();
      const file = join(rig.directory, "pid");
      rig.see("run", rig.oci(["run", "-d", "--pid-file", file, "-b", rig.bundle, id]).code);
      rig.see("pid file", Number(readFileSync(file, "utf8")) === rig.pid(id));
      rig.see("status", rig.status(id));
      gone(rig, id);
    },
  },
  {
    name: "delete of a running container is refused, with force it ends it",
    run(rig) {
      const id = rig.sleeper();
      rig.see("delete", rig.oci(["delete", id]).code);
      rig.see("status", rig.status(id));
      rig.see("force", rig.oci(["delete", "-f", id]).code);
      rig.see("state", rig.oci(["state", id]).code);
    },
  },
  {
    name: "delete of a created container",
    run(rig) {
      const id = create(rig);
      rig.see("force", rig.oci(["delete", "--force", id]).code);
      rig.see("state", rig.oci(["state", id]).code);
    },
  },
  {
    name: "kill of a created container",
    async run(rig) {
      const id = create(rig);
      rig.see("kill", rig.oci(["kill", id, "KILL"]).code);
      await rig.becomes(id, "stopped");
      rig.see("start", rig.oci(["start", id]).code);
      rig.see("delete", rig.oci(["delete", id]).code);
    },
  },
  {
    name: "an id is taken once",
    run(rig) {
      const id = create(rig);
      rig.see("again", rig.oci(["create", "-b", rig.bundle, id]).code);
      rig.see("run", rig.oci(["run", "-b", rig.bundle, id]).code);
      rig.see("status", rig.status(id));
      gone(rig, id);
    },
  },
  {
    name: "a container that is not there",
    run(rig) {
      for (const verb of ["state", "start", "kill", "delete", "pause", "resume", "ps", "events"]) {
        rig.see(verb, rig.oci([verb, "nosuch"]).code === 0);
      }
      rig.see("exec", rig.oci(["exec", "nosuch", "true"]).code === 0);
      rig.see("delete -f", rig.oci(["delete", "-f", "nosuch"]).code);
    },
  },
  {
    name: "start is once",
    run(rig) {
      const id = create(rig);
      rig.see("first", rig.oci(["start", id]).code);
      rig.see("second", rig.oci(["start", id]).code);
      rig.see("status", rig.status(id));
      gone(rig, id);
    },
  },
  {
    name: "signals by name, number and with SIG",
    async run(rig) {
      for (const signal of ["TERM", "15", "SIGUSR1"]) {
        rig.configure((spec) => {
          spec.process.args = [
            "sh",
            "-c",
            "trap 'exit 3' TERM USR1; touch /tmp/ready; while :; do sleep 0.05; done",
          ];
        });
        const id = rig.id();
        rig.oci(["run", "-d", "-b", rig.bundle, id]);
        for (let look = 0; look < 100 && rig.oci(["exec", id, "stat", "/tmp/ready"]).code !== 0; look++);
        rig.see(signal, rig.oci(["kill", id, signal]).code);
        await rig.becomes(id, "stopped");
        rig.oci(["delete", id]);
        rig.command(["rm", join(rig.rootfs, "tmp/ready")]);
      }
    },
  },
  {
    name: "an unknown signal",
    run(rig) {
      const id = rig.sleeper();
      rig.see("kill", rig.oci(["kill", id, "NOSUCH"]).code === 0);
      rig.see("status", rig.status(id));
      gone(rig, id);
    },
  },
  {
    name: "pause and resume",
    run(rig) {
      const id = rig.sleeper();
      rig.see("resume of a running one", rig.oci(["resume", id]).code === 0);
      rig.see("pause", rig.oci(["pause", id]).code);
      rig.see("paused", rig.status(id));
      rig.see("exec", rig.oci(["exec", id, "true"]).code === 0);
      rig.see("resume", rig.oci(["resume", id]).code);
      rig.see("running", rig.status(id));
      rig.see("delete of a paused one", [rig.oci(["pause", id]).code, rig.oci(["delete", "-f", id]).code]);
    },
    differs: { "resume of a running one": "crun says nothing, runc refuses as we do" },
  },
  {
    name: "list",
    run(rig) {
      const one = rig.sleeper();
      const other = create(rig);
      rig.see(
        "quiet",
        rig.oci(["list", "-q"]).stdout.trim().split("\n").sort().join() === [one, other].sort().join(),
      );
      const rows = JSON.parse(rig.oci(["list", "-f", "json"]).stdout) as { id: string; status: string }[];
      const statusOf = (id: string) => rows.find((row) => row.id === id)?.status;
      rig.see("json", [rows.length, statusOf(one), statusOf(other)]);
      rig.see("table", rig.oci(["list"]).stdout.split("\n")[0]?.split(/\s+/).slice(0, 3));
      gone(rig, one);
      gone(rig, other);
    },
  },
  {
    name: "ps",
    run(rig) {
      const id = rig.sleeper();
      rig.see("json", JSON.parse(rig.oci(["ps", "-f", "json", id]).stdout).join() === String(rig.pid(id)));
      const table = rig.oci(["ps", id]).stdout.trim().split("\n");
      rig.see("table", [table.length, table[0]?.split(/\s+/)[1], /sleep 1000$/.test(table[1] ?? "")]);
      gone(rig, id);
    },
  },
];

import { lstatSync, readFileSync } from "node:fs";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { takeWords, usage } from "../arguments.ts";
import type { Command } from "../command.ts";
import { table } from "../table.ts";
import { describe } from "./state.ts";

export const list: Command = {
  usage: "list",
  summary: "list containers",
  options: { "quiet q": "flag", "format f": "value" },
  run({ states }, args) {
    takeWords("list", args.rest);
    const containers = states.list();
    const format = args.value("format") ?? "table";
    if (args.flag("quiet")) {
      for (const { id } of containers) process.stdout.write(`${id}\n`);
    } else if (format === "json") {
      const rows = containers.map((container) => ({
        ...describe(states, container),
        owner: ownerOf(states, container),
      }));
      process.stdout.write(`${rows.length === 0 ? "null" : JSON.stringify(rows)}`);
    } else if (format === "table") {
      const rows = containers.map((container) => {
        const { id, pid, status, bundle, created } = describe(states, container);
        return [id, String(pid), status, bundle, created, ownerOf(states, container)];
      });
      process.stdout.write(table([["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], ...rows]));
    } else throw usage(`invalid format option: ${format}`);
    return 0;
  },
};

/** Whose the state directory is; the number where there is no name for it. */
function ownerOf(states: StateDirectory, { id }: StoredContainer): string {
  const uid = String(lstatSync(states.path(id)).uid);
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.split(":")[2] === uid);
  return line?.split(":")[0] ?? `#${uid}`;
}

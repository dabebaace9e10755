/**
 * Containers whose record cannot be read: the row is kept as a file, and another takes its place, from the backup or, where
 * that has none, with nothing in it but who it is. Such a container shows, can be stopped, copied from and removed; it cannot
 * be started, since nobody knows any more what it was started with.
 */
import { type ContainerRecord, neverRun } from "#engine/containers/container-record.ts";
import { BerthError } from "#errors/errors.ts";

/** A container's row. */
export interface ContainerRow extends Record<string, unknown> {
  id: string;
  name: string | null;
  phase: string;
  /** Milliseconds since 1970. */
  created: number;
  record: string;
}

/** The exit code of a container whose end nobody saw; dockerd's value. */
const UNKNOWN_EXIT = 255;

/** Throws Error with what is wrong. */
export function parseRecord(row: Pick<ContainerRow, "id" | "record">): ContainerRecord {
  const value: unknown = JSON.parse(row.record);
  if (!isObject(value)) throw new Error("it is no JSON object");
  const record = value as Partial<ContainerRecord>;
  if (record.id !== row.id) throw new Error(`it is the record of ${String(record.id)}`);
  for (const field of ["config", "state"] as const) {
    if (!isObject(record[field])) throw new Error(`its ${field} is missing`);
  }
  for (const field of ["hostConfig", "endpoints"] as const) {
    if (!isObject(record[field] ?? {})) throw new Error(`its ${field} is no object`);
  }
  for (const field of ["mounts", "args"] as const) {
    if (!Array.isArray(record[field] ?? [])) throw new Error(`its ${field} is no list`);
  }
  for (const field of ["name", "created"] as const) {
    if (typeof record[field] !== "string") throw new Error(`its ${field} is missing`);
  }
  if (!["creating", "present", "removing"].includes(record.phase ?? ""))
    throw new Error("its phase is missing");
  return record as ContainerRecord;
}

/** In place of a record that is lost. `name`: empty where that is lost as well. `reason`: shown by inspect. */
export function emptyRecord(
  row: Pick<ContainerRow, "id" | "name" | "phase" | "created">,
  hostConfig: ContainerRecord["hostConfig"],
  reason: string,
): ContainerRecord {
  const phase = row.phase === "removing" ? "removing" : "present";
  return {
    id: row.id,
    name: row.name ?? (phase === "removing" ? "" : `recovered-${row.id.slice(0, 12)}`),
    phase,
    created: new Date(row.created).toISOString(),
    imageId: "",
    imageName: "",
    config: { Hostname: row.id.slice(0, 12), Image: "", Labels: {}, Env: [] },
    hostConfig: { ...hostConfig, NetworkMode: "none" },
    endpoints: {},
    mounts: [],
    path: "",
    args: [],
    state: { ...neverRun(), Status: "exited", ExitCode: UNKNOWN_EXIT, Error: reason },
    restartCount: 0,
    startTicks: "",
    manuallyStopped: true,
    populated: true,
    lost: reason,
  };
}

/** Throws "conflict" for a container of which there is nothing left to start it with. */
export function refuseLost({ id, name, lost }: ContainerRecord): void {
  if (lost === undefined) return;
  throw new BerthError("conflict", `container ${name || id} cannot be started: ${lost}`, {
    operation: "start container",
    object: name || id,
    hint: "copy what is needed out of it with docker cp, remove it, and make it anew",
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

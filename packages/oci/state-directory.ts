/**
 * What the runtime's command line knows of a container between two commands: `<root>/<id>/state.json`. The directory is
 * the container's name: making it takes the id, removing it gives the id back. No process keeps any of it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { CgroupPlacement } from "#runtime/cgroups/container-cgroup.ts";
import { parseSpecJson, stringifySpecJson } from "#runtime/spec-json.ts";
import type { Spec, SpecResources } from "#runtime/spec-types.ts";

const STATE_FILE = "state.json";
/** Sticky: what is so in a user's runtime directory is not tidied away while it is in use (XDG base directories). */
const ROOT_MODE = 0o1711;
const DENIED: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR"]);

/** One container, as written when it was created. */
export interface StoredContainer {
  id: string;
  /** Host pid of its first process, and that process' start time (field 22 of /proc/<pid>/stat). */
  pid: number;
  startTicks: string;
  bundle: string;
  rootfs: string;
  /** RFC 3339. */
  created: string;
  spec: Spec;
  /** Where its control groups lie, as they were made. */
  cgroupOwner: CgroupPlacement;
  /** Its limits as they are now. */
  resources: SpecResources;
  /** Texts of the program's instructions, for failures after the start; indexes of the execve attempts. */
  labels: string[];
  execveInstructions: number[];
}

export class StateDirectory {
  readonly root: string;

  constructor(root: string) {
    this.root = resolve(root);
  }

  path(id: string): string {
    return join(this.root, checkedId(id));
  }

  /** Takes the id. Throws "conflict" if it is taken. */
  claim(id: string): string {
    const path = this.path(id);
    try {
      mkdirSync(this.root, { recursive: true, mode: ROOT_MODE });
      mkdirSync(path, { mode: 0o700 });
    } catch (cause) {
      const { code = "" } = cause as NodeJS.ErrnoException;
      if (DENIED.has(code)) {
        throw new BerthError("forbidden", `cannot keep state in ${this.root}: ${code}`, {
          operation: "create container",
          object: id,
          hint: "--root is for another directory",
          cause,
        });
      }
      if (code !== "EEXIST") throw cause;
      throw new BerthError("conflict", "container with given ID already exists", {
        operation: "create container",
        object: id,
        cause,
      });
    }
    return path;
  }

  /** Whole or not at all. */
  save(container: StoredContainer): void {
    const path = join(this.path(container.id), STATE_FILE);
    writeFileSync(`${path}.tmp`, stringifySpecJson(container), { mode: 0o600 });
    renameSync(`${path}.tmp`, path);
  }

  /** Throws "not-found", in the words that callers look for. */
  load(id: string): StoredContainer {
    const found = this.find(id);
    if (found !== undefined) return found;
    throw new BerthError("not-found", "container does not exist", {
      operation: "load container",
      object: id,
    });
  }

  /** Undefined for an id that is free, or whose container never came to be. */
  find(id: string): StoredContainer | undefined {
    try {
      const text = readFileSync(join(this.path(id), STATE_FILE), "utf8");
      return parseSpecJson(text) as StoredContainer;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw error;
    }
  }

  /** Gives the id back. */
  remove(id: string): void {
    rmSync(this.path(id), { recursive: true, force: true });
  }

  /** Is the id taken, by a container or by the remains of one? */
  taken(id: string): boolean {
    return existsSync(this.path(id));
  }

  list(): StoredContainer[] {
    if (!existsSync(this.root)) return [];
    return readdirSync(this.root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && ID.test(entry.name))
      .map((entry) => this.find(entry.name))
      .filter((container) => container !== undefined);
  }
}

const ID = /^[\w+.-]+$/;

function checkedId(id: string): string {
  if (id === "") throw refuse("container id cannot be empty", id);
  if (!ID.test(id) || id === "." || id === "..")
    throw refuse(`invalid container ID format: ${JSON.stringify(id)}`, id);
  return id;
}

function refuse(message: string, object: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "read container id",
    object,
    hint: "an id has letters, digits, and _ + - . only",
  });
}

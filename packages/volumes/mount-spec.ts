/**
 * What -v and --mount say, as one kind of plan. Pure; the error texts are Docker's.
 *
 * Names of volumes are not judged here: what they may look like is the driver's to say.
 */
import { posix } from "node:path";
import type { MountRequest } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import { tmpfsOptions } from "#volumes/tmpfs-options.ts";

export interface MountPlan {
  type: "bind" | "volume" | "tmpfs" | "image";
  /** Host path of a bind, name of an image. */
  source: string;
  /** Name of a volume; empty for an anonymous one. */
  volumeName: string;
  /** What the volume is made with, if it isn't there. */
  driver: string;
  driverOptions: Record<string, string>;
  labels: Record<string, string>;
  destination: string;
  readOnly: boolean;
  /** Everything mounted below is read-only, too. */
  readOnlyTree: boolean;
  /** "rprivate", "rslave" …; empty for the default. */
  propagation: string;
  /** The options as given, for inspect. */
  mode: string;
  noCopy: boolean;
  subpath: string;
  recursive: boolean;
  /** A missing bind source is made. */
  createSource: boolean;
  tmpfsOptions: string;
}

export interface PlanDefaults {
  /** Driver of volumes for which none is named. */
  volumeDriver?: string;
  /** Read-only binds leave what is mounted below as it is: for clients older than the choice. */
  readOnlyMountAlone?: boolean;
}

const PROPAGATIONS = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/** The words of a -v's third part, by kind; one of each kind at most. */
const MODE_WORDS: readonly (readonly string[])[] = [
  ["ro", "rw"],
  ["z", "Z"],
  PROPAGATIONS,
  ["nocopy"],
  // Hints for file sharing with a virtual machine; nothing to do for them here.
  ["consistent", "cached", "delegated"],
];

/** "source:destination[:options]", or "destination" for an anonymous volume. Throws "invalid". */
export function parseBind(spec: string, defaults: PlanDefaults = {}): MountPlan {
  const parts = spec.split(":");
  const [first = "", second, mode = ""] = parts;
  // A destination with a mode is no volume: "/x:ro".
  if (first === "" || parts.length > 3 || (parts.length === 2 && isMode(second ?? ""))) {
    throw invalid(`invalid volume specification: '${spec}'`, spec);
  }
  if (!isMode(mode)) throw invalid(`invalid mode: ${mode}`, spec);
  const words = mode === "" ? [] : mode.split(",");
  const source = second === undefined ? "" : first;
  const propagation = words.find((word) => PROPAGATIONS.includes(word));
  const request: MountRequest = {
    Type: source.startsWith("/") ? "bind" : "volume",
    Source: source,
    Target: second ?? first,
    ReadOnly: words.includes("ro"),
    ...(propagation === undefined ? {} : { BindOptions: { Propagation: propagation } }),
    ...(words.includes("nocopy") ? { VolumeOptions: { NoCopy: true } } : {}),
  };
  try {
    const plan = planMount(request, () => true, defaults);
    // Labels of volumes are shared, unless they are said to be private.
    return { ...plan, mode: mode || plan.mode, createSource: plan.type === "bind" };
  } catch (cause) {
    if (!(cause instanceof BerthError)) throw cause;
    throw invalid(`invalid volume specification: '${spec}': ${cause.message}`, spec);
  }
}

/** "name[:mode]" of --volumes-from. Throws "invalid". */
export function parseVolumesFrom(spec: string): { name: string; readOnly: boolean } {
  if (spec === "") throw invalid("volumes-from specification cannot be an empty string", spec);
  const [name = "", ...rest] = spec.split(":");
  const mode = rest.join(":");
  const words = mode.split(",");
  const refused = words.some((word) => word === "nocopy" || PROPAGATIONS.includes(word));
  if (!isMode(mode) || refused) throw invalid(`invalid mode: ${mode}`, spec);
  return { name, readOnly: words.includes("ro") };
}

function isMode(mode: string): boolean {
  if (mode === "") return true;
  const kinds = mode.split(",").map((word) => MODE_WORDS.findIndex((words) => words.includes(word)));
  return !kinds.includes(-1) && new Set(kinds).size === kinds.length;
}

type Refuse = (why: string) => BerthError;

/** An entry of HostConfig.Mounts. `exists` tells whether a path is there on the host. Throws "invalid". */
export function planMount(
  mount: MountRequest,
  exists: (path: string) => boolean,
  defaults: PlanDefaults = {},
): MountPlan {
  const refuse: Refuse = (why) =>
    invalid(`invalid mount config for type "${mount.Type ?? ""}": ${why}`, mount.Target ?? "");
  const destination = checkDestination(mount.Target ?? "", refuse);
  const readOnly = mount.ReadOnly ?? false;
  const plan: MountPlan = { ...NO_OPTIONS, destination, readOnly };
  switch (mount.Type) {
    case "bind":
      forbid(mount, ["VolumeOptions", "ImageOptions"], refuse);
      return { ...plan, type: "bind", ...bindPlan(mount, refuse, exists, defaults) };
    case "volume":
      forbid(mount, ["BindOptions", "ImageOptions"], refuse);
      return { ...plan, ...volumePlan(mount, refuse, defaults) };
    case "tmpfs":
      forbid(mount, ["BindOptions", "ImageOptions"], refuse);
      if (mount.Source) throw refuse("field Source must not be specified");
      return { ...plan, type: "tmpfs", tmpfsOptions: tmpfsOptions(mount.TmpfsOptions ?? {}, refuse) };
    case "image":
      forbid(mount, ["BindOptions", "VolumeOptions"], refuse);
      if (!mount.Source) throw refuse("field Source must not be empty");
      return {
        ...plan,
        type: "image",
        source: mount.Source,
        readOnly: true,
        readOnlyTree: true,
        propagation: "rprivate",
        subpath: checkSubpath(mount.ImageOptions?.Subpath ?? "", refuse),
      };
    default:
      throw refuse("mount type unknown");
  }
}

function forbid(
  mount: MountRequest,
  fields: ("BindOptions" | "VolumeOptions" | "ImageOptions")[],
  refuse: Refuse,
): void {
  const field = fields.find((name) => mount[name] !== undefined && mount[name] !== null);
  if (field !== undefined) throw refuse(`field ${field} must not be specified`);
}

function bindPlan(
  mount: MountRequest,
  refuse: Refuse,
  exists: (path: string) => boolean,
  { readOnlyMountAlone = false }: PlanDefaults,
): Partial<MountPlan> {
  const source = mount.Source ?? "";
  if (source === "") throw refuse("field Source must not be empty");
  const options = mount.BindOptions ?? {};
  const propagation = options.Propagation ?? "";
  if (propagation !== "" && !PROPAGATIONS.includes(propagation)) {
    throw refuse(`invalid propagation mode: ${propagation}`);
  }
  if (!source.startsWith("/")) throw refuse(`invalid mount path: '${source}' mount path must be absolute`);
  const createSource = options.CreateMountpoint ?? false;
  if (!createSource && !exists(source)) throw refuse(`bind source path does not exist: ${source}`);
  const alone = options.ReadOnlyNonRecursive ?? false;
  const force = options.ReadOnlyForceRecursive ?? false;
  const conflicts: [boolean, string][] = [
    [!mount.ReadOnly && alone, "!ReadOnly && BindOptions.ReadOnlyNonRecursive"],
    [!mount.ReadOnly && force, "!ReadOnly && BindOptions.ReadOnlyForceRecursive"],
    [alone && force, "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"],
  ];
  const conflict = conflicts.find(([found]) => found);
  if (conflict !== undefined) throw invalid(`mount options conflict: ${conflict[1]}`, mount.Target);
  return {
    source: posix.normalize(source).replace(/(.)\/$/, "$1"),
    propagation,
    recursive: !(options.NonRecursive ?? false),
    readOnlyTree: (mount.ReadOnly ?? false) && (force || !(alone || readOnlyMountAlone)),
    createSource,
  };
}

function volumePlan(
  { Source = "", ReadOnly = false, VolumeOptions }: MountRequest,
  refuse: Refuse,
  { volumeDriver = "", readOnlyMountAlone = false }: PlanDefaults,
): Partial<MountPlan> {
  const { Subpath = "", NoCopy = false, Labels, DriverConfig } = VolumeOptions ?? {};
  if (Subpath !== "" && Source === "") throw refuse("must not set Subpath when using anonymous volumes");
  const subpath = checkSubpath(Subpath, refuse);
  if (ReadOnly && Source === "") throw refuse("must not set ReadOnly mode when using anonymous volumes");
  return {
    volumeName: Source,
    driver: DriverConfig?.Name || volumeDriver,
    driverOptions: DriverConfig?.Options ?? {},
    labels: Labels ?? {},
    noCopy: NoCopy,
    subpath,
    readOnlyTree: ReadOnly && !readOnlyMountAlone,
    mode: "z",
  };
}

const NO_OPTIONS: MountPlan = {
  type: "volume",
  source: "",
  volumeName: "",
  driver: "",
  driverOptions: {},
  labels: {},
  destination: "",
  readOnly: false,
  readOnlyTree: false,
  propagation: "",
  mode: "",
  noCopy: false,
  subpath: "",
  recursive: true,
  createSource: false,
  tmpfsOptions: "",
};

/** The path without what normalizing takes away. */
function checkDestination(path: string, refuse: Refuse): string {
  if (path === "") throw refuse("field Target must not be empty");
  const normal = posix.normalize(path).replace(/(.)\/$/, "$1");
  if (normal === "/") throw refuse("invalid specification: destination can't be '/'");
  if (!path.startsWith("/")) throw refuse(`invalid mount path: '${path}' mount path must be absolute`);
  return normal;
}

function checkSubpath(subpath: string, refuse: Refuse): string {
  const normal = posix.normalize(subpath);
  if (subpath.startsWith("/") || normal === ".." || normal.startsWith("../")) {
    throw refuse("subpath must be a relative path within the volume");
  }
  return subpath === "" || normal === "." || normal === "./" ? "" : normal;
}

function invalid(message: string, object: string): BerthError {
  return new BerthError("invalid", message, { operation: "parse mount", object });
}

/** What -v and --mount say, as one kind of plan. Pure; the error texts are Docker's. */
import { posix } from "node:path";
import type { MountRequest } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";

export interface MountPlan {
  type: "bind" | "volume" | "tmpfs";
  /** Host path of a bind. */
  source: string;
  /** Name of a volume; empty for an anonymous one. */
  volumeName: string;
  destination: string;
  readOnly: boolean;
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

const PROPAGATIONS = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
const ACCESS = ["ro", "rw"];
/** Labels and consistency hints; nothing to do for them here. */
const IGNORED = ["z", "Z", "consistent", "cached", "delegated"];

export const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** "source:destination[:options]", or "destination" for an anonymous volume. Throws "invalid". */
export function parseBind(spec: string): MountPlan {
  const parts = spec.split(":");
  const [first = "", second, third = "", ...rest] = parts;
  if (rest.length > 0 || spec === "" || parts.some((part, at) => part === "" && at < 2)) {
    throw invalid(`invalid volume specification: '${spec}'`, spec);
  }
  const source = second === undefined ? "" : first;
  const destination = checkDestination(second ?? first, spec);
  const options = parseOptions(third, spec);
  if (source === "") return { ...options, type: "volume", source: "", volumeName: "", destination };
  if (source.startsWith("/")) {
    return { ...options, type: "bind", source: posix.normalize(source), volumeName: "", destination };
  }
  checkVolumeName(source);
  if (options.propagation !== "") throw invalid(`invalid mode: ${third}`, spec);
  // Labels of volumes are shared, unless they are said to be private.
  const mode = options.mode || "z";
  return { ...options, mode, type: "volume", source: "", volumeName: source, destination };
}

/** An entry of HostConfig.Mounts. `exists` tells whether a path is there on the host. */
export function planMount(mount: MountRequest, exists: (path: string) => boolean): MountPlan {
  const refuse = (why: string) =>
    invalid(`invalid mount config for type "${mount.Type}": ${why}`, mount.Target ?? "");
  if (!mount.Target) throw refuse("field Target must not be empty");
  if (!mount.Target.startsWith("/"))
    throw refuse(`invalid mount path: '${mount.Target}' mount path must be absolute`);
  const destination = checkDestination(mount.Target, mount.Target);
  const plan: MountPlan = { ...NO_OPTIONS, type: "volume", source: "", volumeName: "", destination };
  plan.readOnly = mount.ReadOnly ?? false;
  switch (mount.Type) {
    case "bind":
      return { ...plan, type: "bind", ...bindPlan(mount, refuse, exists) };
    case "volume":
      if (mount.Source) checkVolumeName(mount.Source);
      return {
        ...plan,
        volumeName: mount.Source ?? "",
        noCopy: mount.VolumeOptions?.NoCopy ?? false,
        subpath: checkSubpath(mount.VolumeOptions?.Subpath ?? "", refuse),
        mode: "z",
      };
    case "tmpfs":
      if (mount.Source) throw refuse("field Source must not be specified");
      return { ...plan, type: "tmpfs", tmpfsOptions: tmpfsOptions(mount) };
    default:
      throw refuse("mount type unknown");
  }
}

function bindPlan(
  mount: MountRequest,
  refuse: (why: string) => BerthError,
  exists: (path: string) => boolean,
): Pick<MountPlan, "source" | "propagation" | "recursive" | "createSource"> {
  const source = mount.Source ?? "";
  if (source === "") throw refuse("field Source must not be empty");
  if (!source.startsWith("/")) throw refuse(`invalid mount path: '${source}' mount path must be absolute`);
  const createSource = mount.BindOptions?.CreateMountpoint ?? false;
  if (!createSource && !exists(source)) throw refuse(`bind source path does not exist: ${source}`);
  const propagation = mount.BindOptions?.Propagation ?? "";
  if (propagation !== "" && !PROPAGATIONS.includes(propagation)) {
    throw refuse(`invalid propagation mode: ${propagation}`);
  }
  return {
    source: posix.normalize(source),
    propagation,
    recursive: !(mount.BindOptions?.NonRecursive ?? false),
    createSource,
  };
}

const NO_OPTIONS = {
  readOnly: false,
  propagation: "",
  mode: "",
  noCopy: false,
  subpath: "",
  recursive: true,
  createSource: false,
  tmpfsOptions: "",
};

function parseOptions(mode: string, spec: string): typeof NO_OPTIONS {
  const options = { ...NO_OPTIONS, mode };
  const seen = new Set<string>();
  for (const option of mode === "" ? [] : mode.split(",")) {
    const group = ACCESS.includes(option) ? "access" : PROPAGATIONS.includes(option) ? "propagation" : option;
    if (seen.has(group)) throw invalid(`invalid mode: ${mode}`, spec);
    seen.add(group);
    if (option === "ro") options.readOnly = true;
    else if (option === "nocopy") options.noCopy = true;
    else if (PROPAGATIONS.includes(option)) options.propagation = option;
    else if (option !== "rw" && !IGNORED.includes(option)) throw invalid(`invalid mode: ${mode}`, spec);
  }
  return options;
}

function checkDestination(path: string, spec: string): string {
  if (!path.startsWith("/")) {
    throw invalid(
      `invalid volume specification: '${spec}': invalid mount config for type "${kindOf(spec)}": invalid mount path: '${path}' mount path must be absolute`,
      spec,
    );
  }
  const normal = posix.normalize(path).replace(/(.)\/$/, "$1");
  if (normal === "/")
    throw invalid(
      `invalid volume specification: '${spec}': invalid mount config for type "${kindOf(spec)}": invalid specification: destination can't be '/'`,
      spec,
    );
  return normal;
}

function kindOf(spec: string): "bind" | "volume" {
  return spec.startsWith("/") && spec.includes(":") ? "bind" : "volume";
}

/** Throws "invalid" with Docker's text for names the local driver does not take. */
export function checkVolumeName(name: string): void {
  if (VOLUME_NAME.test(name)) return;
  throw new BerthError(
    "invalid",
    `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    { operation: "create volume", object: name },
  );
}

function checkSubpath(subpath: string, refuse: (why: string) => BerthError): string {
  if (subpath.startsWith("/") || subpath.split("/").includes("..")) {
    throw refuse("subpath must be a relative path within the volume");
  }
  return subpath;
}

function tmpfsOptions(mount: MountRequest): string {
  const { SizeBytes, Mode, Options } = mount.TmpfsOptions ?? {};
  const options = (Options ?? []).map((pair) => pair.join("="));
  if (SizeBytes) options.push(`size=${SizeBytes}`);
  if (Mode) options.push(`mode=${Mode.toString(8)}`);
  return options.join(",");
}

function invalid(message: string, object: string): BerthError {
  return new BerthError("invalid", message, { operation: "parse mount", object });
}

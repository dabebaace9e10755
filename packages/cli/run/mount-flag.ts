/** --mount: comma-separated key=value. Relative sources are left as they are; create-request.ts makes them absolute. */
import type { MountRequest } from "#api-types/container.ts";
import { parseCsvLine } from "#cli/csv.ts";
import { parseBool } from "#cli/flags.ts";
import { keyValues } from "#cli/run/simple-values.ts";
import { parseMemory } from "#cli/sizes.ts";

type Options = "BindOptions" | "VolumeOptions" | "ImageOptions" | "TmpfsOptions";
type VolumeOptions = NonNullable<MountRequest["VolumeOptions"]>;

/** Options that only one type of mount may have. */
const owner: Record<Options, string> = {
  BindOptions: "bind",
  VolumeOptions: "volume",
  ImageOptions: "image",
  TmpfsOptions: "tmpfs",
};

/** The options of one kind, made when first asked for. */
function part<K extends Options>(mount: MountRequest, key: K): NonNullable<MountRequest[K]> {
  const options: NonNullable<MountRequest[K]> = mount[key] ?? {};
  mount[key] = options;
  return options;
}

/** Throws Error with Docker's text. */
export function parseMount(text: string): MountRequest {
  const mount: MountRequest = { Type: "volume", Target: "" };
  const volume = () => part(mount, "VolumeOptions");
  for (const field of parseCsvLine(text)) {
    const equals = field.indexOf("=");
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase();
    const given = equals < 0 ? undefined : field.slice(equals + 1);
    if (key === "readonly" || key === "ro") mount.ReadOnly = flag(key, given);
    else if (key === "volume-nocopy") volume().NoCopy = flag(key, given);
    else if (key === "bind-create-src") part(mount, "BindOptions").CreateMountpoint = flag(key, given);
    else if (key === "bind-nonrecursive") part(mount, "BindOptions").NonRecursive = flag(key, given);
    else if (given === undefined) throw new Error(`invalid field '${field}' must be a key=value pair`);
    else setOption(mount, volume, key, given, field);
  }
  check(mount);
  if (mount.ReadOnly === false) delete mount.ReadOnly;
  return mount;
}

function flag(key: string, value: string | undefined): boolean {
  if (value === undefined) return true;
  try {
    return parseBool(value);
  } catch {
    // The caller's message names the key instead.
    throw new Error(`invalid value for ${key}: ${value}`);
  }
}

function setOption(
  mount: MountRequest,
  volume: () => VolumeOptions,
  key: string,
  value: string,
  field: string,
): void {
  switch (key) {
    case "type":
      mount.Type = value.toLowerCase() as MountRequest["Type"];
      break;
    case "source":
    case "src":
      mount.Source = value;
      break;
    case "target":
    case "dst":
    case "destination":
      mount.Target = value;
      break;
    case "consistency":
      mount.Consistency = value.toLowerCase();
      break;
    case "bind-propagation":
      part(mount, "BindOptions").Propagation = value.toLowerCase();
      break;
    case "bind-recursive":
      setRecursive(mount, value);
      break;
    case "volume-subpath":
      volume().Subpath = value;
      break;
    case "volume-label":
      volume().Labels = { ...volume().Labels, ...keyValues([value]) };
      break;
    case "volume-driver":
      volume().DriverConfig = { ...volume().DriverConfig, Name: value };
      break;
    case "volume-opt": {
      const driver = volume().DriverConfig ?? {};
      volume().DriverConfig = { ...driver, Options: { ...driver.Options, ...keyValues([value]) } };
      break;
    }
    case "image-subpath":
      part(mount, "ImageOptions").Subpath = value;
      break;
    case "tmpfs-size":
      part(mount, "TmpfsOptions").SizeBytes = namedValue(key, value, parseMemory);
      break;
    case "tmpfs-mode":
      part(mount, "TmpfsOptions").Mode = namedValue(key, value, octal);
      break;
    default:
      throw new Error(`unexpected key '${key}' in '${field}'`);
  }
}

function setRecursive(mount: MountRequest, value: string): void {
  const options = part(mount, "BindOptions");
  if (value === "enabled") return;
  if (value === "disabled") options.NonRecursive = true;
  else if (value === "writable") options.ReadOnlyNonRecursive = true;
  else if (value === "readonly") options.ReadOnlyForceRecursive = true;
  else
    throw new Error(
      `invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`,
    );
}

function octal(text: string): number {
  if (!/^[0-7]+$/.test(text)) throw new Error("not an octal number");
  return Number.parseInt(text, 8);
}

function namedValue(key: string, value: string, parse: (text: string) => number): number {
  try {
    return parse(value);
  } catch {
    // The message names the key, which the parser does not know.
    throw new Error(`invalid value for ${key}: ${value}`);
  }
}

function check(mount: MountRequest): void {
  if ((mount.Type as string) === "") throw new Error("type is required");
  if (mount.Target === "") throw new Error("target is required");
  for (const [options, type] of Object.entries(owner)) {
    if (mount[options as Options] !== undefined && mount.Type !== type)
      throw new Error(`cannot mix '${type}-*' options with mount type '${mount.Type}'`);
  }
  const bind = mount.BindOptions;
  if (bind?.ReadOnlyNonRecursive && !mount.ReadOnly)
    throw new Error("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
  if (bind?.ReadOnlyForceRecursive) {
    const requires = "option 'bind-recursive=readonly' requires";
    if (!mount.ReadOnly) throw new Error(`${requires} 'readonly' to be specified in conjunction`);
    if (bind.Propagation !== "rprivate")
      throw new Error(`${requires} 'bind-propagation=rprivate' to be specified in conjunction`);
  }
}

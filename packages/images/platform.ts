/**
 * Platforms ("linux/arm64/v8") and which of an image's variants fits a machine.
 *
 * Names are Go's, as the OCI image specification has them. Pure.
 */
import { BerthError } from "#errors/errors.ts";

export interface Platform {
  os: string;
  architecture: string;
  /** "v7", "v8"; empty where the architecture has none. */
  variant: string;
}

const fromNode: Record<string, string> = {
  x64: "amd64",
  ia32: "386",
  ppc64: "ppc64le",
  loong64: "loong64",
};

const aliases: Record<string, string> = {
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
  i386: "386",
  armhf: "arm",
  armel: "arm",
};

/** This machine, or `arch` in Node's words. */
export function hostPlatform(arch: string = process.arch): Platform {
  const architecture = fromNode[arch] ?? arch;
  return { os: "linux", architecture, variant: architecture === "arm" ? "v7" : "" };
}

/** "linux/arm/v7", "linux/amd64", "arm64"; empty means this machine. Throws "invalid". */
export function parsePlatform(text: string): Platform {
  if (text === "") return hostPlatform();
  const parts = text.toLowerCase().split("/");
  if (parts.length > 3) {
    throw new BerthError("invalid", `"${text}": cannot parse platform specifier: invalid argument`, {
      operation: "parse platform",
      object: text,
      hint: "give it as os/architecture[/variant], for example linux/arm64",
    });
  }
  if (parts.some((part) => !/^[a-z0-9_.-]+$/.test(part))) {
    throw new BerthError(
      "invalid",
      `"${text}" is an invalid component of "${text}": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument`,
      {
        operation: "parse platform",
        object: text,
        hint: "give it as os/architecture[/variant], for example linux/arm64",
      },
    );
  }
  if (parts.length === 1) {
    const only = parts[0] ?? "";
    return only === "linux" || only === "windows"
      ? { ...hostPlatform(), os: only }
      : normalise("linux", only, "");
  }
  return normalise(parts[0] ?? "", parts[1] ?? "", parts[2] ?? "");
}

export function platformText(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant].filter((part) => part !== "").join("/");
}

/**
 * How well an offered platform fits the wanted one: 0 is best, undefined does not run. An arm v7 machine runs v6 and v5;
 * an entry without a platform fits nothing (attestations have "unknown").
 */
export function platformRank(offered: Partial<Platform> | undefined, wanted: Platform): number | undefined {
  if (offered === undefined || offered.os !== wanted.os) return undefined;
  const have = normalise(offered.os ?? "", offered.architecture ?? "", offered.variant ?? "");
  if (have.architecture !== wanted.architecture) return undefined;
  if (have.variant === wanted.variant) return 0;
  const haveLevel = level(have);
  const wantedLevel = level(wanted);
  if (haveLevel === undefined || wantedLevel === undefined) return undefined;
  return haveLevel <= wantedLevel ? wantedLevel - haveLevel : undefined;
}

function normalise(os: string, architecture: string, variant: string): Platform {
  const arch = aliases[architecture] ?? architecture;
  if (architecture === "armel" && variant === "") return { os, architecture: "arm", variant: "v6" };
  if (arch === "arm")
    return { os, architecture: arch, variant: variant === "" ? "v7" : variant.replace(/^(?=\d)/, "v") };
  // v8 is what arm64 means, v1 what amd64 means.
  if (arch === "arm64")
    return { os, architecture: arch, variant: variant === "v8" || variant === "8" ? "" : variant };
  if (arch === "amd64") return { os, architecture: arch, variant: variant === "v1" ? "" : variant };
  return { os, architecture: arch, variant };
}

/** The number in "v7"; architectures without levels have only the empty variant. */
function level({ architecture, variant }: Platform): number | undefined {
  if (variant === "") return architecture === "amd64" ? 1 : architecture === "arm64" ? 8 : 0;
  const number = /^v(\d+)/.exec(variant)?.[1];
  return number === undefined ? undefined : Number(number);
}

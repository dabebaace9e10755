/**
 * Docker's seccomp profile format (the OCI form plus conditions on capabilities, architecture and kernel), and its
 * resolution to what one container gets. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import { DEFAULT_PROFILE } from "#runtime/seccomp/default-profile.ts";
import { parseSpecJson } from "#runtime/spec-json.ts";
import type { SeccompAction, SpecSeccomp } from "#runtime/spec-types.ts";

export interface ProfileCondition {
  caps?: string[] | null;
  /** Go's names: amd64, arm64. */
  arches?: string[] | null;
  /** "4.8". */
  minKernel?: string | null;
}

export interface ProfileSyscall {
  name?: string;
  names?: string[];
  action: SeccompAction;
  errnoRet?: number | null;
  args?: { index: number; value: number | bigint; valueTwo?: number | bigint; op: string }[] | null;
  includes?: ProfileCondition | null;
  excludes?: ProfileCondition | null;
  comment?: string;
}

export interface SeccompProfile {
  defaultAction: SeccompAction;
  defaultErrnoRet?: number | null;
  architectures?: string[] | null;
  archMap?: { architecture: string; subArchitectures?: string[] | null }[] | null;
  flags?: string[] | null;
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: ProfileSyscall[] | null;
}

/** What the conditions are about. */
export interface ProfileContext {
  /** The container's bounding set, as CAP_… names. */
  capabilities: readonly string[];
  architecture: "x64" | "arm64";
  /** As uname -r has it. */
  kernelRelease: string;
}

const native = { x64: "SCMP_ARCH_X86_64", arm64: "SCMP_ARCH_AARCH64" } as const;
const goNames = { x64: "amd64", arm64: "arm64" } as const;

/** The last few default profiles: the object's identity is what the compiled filter is remembered by. */
const resolvedDefaults = new Map<string, SpecSeccomp>();
const KEPT = 32;

/** The default profile for a container. The same object for the same context. */
export function defaultSeccomp(context: ProfileContext): SpecSeccomp {
  const key = [context.architecture, context.kernelRelease, ...context.capabilities.toSorted()].join(" ");
  let seccomp = resolvedDefaults.get(key);
  if (seccomp === undefined) {
    seccomp = resolveProfile(DEFAULT_PROFILE, context);
    if (resolvedDefaults.size >= KEPT) resolvedDefaults.clear();
    resolvedDefaults.set(key, seccomp);
  }
  return seccomp;
}

/** A profile as `--security-opt seccomp=` brings it, already read. Throws "invalid" if it is none. */
export function parseProfile(json: string): SeccompProfile {
  let profile: unknown;
  try {
    profile = parseSpecJson(json);
  } catch (cause) {
    throw invalid(`Decoding seccomp profile failed: ${cause instanceof Error ? cause.message : cause}`);
  }
  if (typeof profile !== "object" || profile === null || !("defaultAction" in profile)) {
    throw invalid("Decoding seccomp profile failed: it has no defaultAction");
  }
  return profile as SeccompProfile;
}

/** The rules that hold for one container. Throws "invalid" for a profile that contradicts itself. */
export function resolveProfile(profile: SeccompProfile, context: ProfileContext): SpecSeccomp {
  const { archMap, architectures, syscalls } = profile;
  if (archMap?.length && architectures?.length) {
    throw invalid("both 'architectures' and 'archMap' are specified in the seccomp profile, use either one");
  }
  const own = archMap?.find((entry) => entry.architecture === native[context.architecture]);
  const resolved: SpecSeccomp = { defaultAction: profile.defaultAction };
  if (profile.defaultErrnoRet != null) resolved.defaultErrnoRet = profile.defaultErrnoRet;
  if (profile.flags != null) resolved.flags = profile.flags;
  if (own !== undefined) resolved.architectures = [own.architecture, ...(own.subArchitectures ?? [])];
  else if (architectures?.length) resolved.architectures = architectures;
  if (profile.listenerPath) resolved.listenerPath = profile.listenerPath;
  if (profile.listenerMetadata) resolved.listenerMetadata = profile.listenerMetadata;
  resolved.syscalls = (syscalls ?? []).filter((call) => holds(call, context)).map(withoutConditions);
  return resolved;
}

function withoutConditions(call: ProfileSyscall): NonNullable<SpecSeccomp["syscalls"]>[number] {
  if (call.name && call.names?.length) {
    throw invalid("both 'name' and 'names' are specified in the seccomp profile, use either one");
  }
  const names = call.name ? [call.name] : (call.names ?? []);
  return {
    names,
    action: call.action,
    ...(call.errnoRet != null && { errnoRet: call.errnoRet }),
    ...(call.args?.length && { args: call.args }),
  };
}

function holds({ includes, excludes }: ProfileSyscall, context: ProfileContext): boolean {
  const { capabilities, kernelRelease } = context;
  const arch = goNames[context.architecture];
  if (excludes?.arches?.includes(arch)) return false;
  if (excludes?.caps?.some((name) => capabilities.includes(name))) return false;
  if (excludes?.minKernel && kernelAtLeast(kernelRelease, excludes.minKernel)) return false;
  if (includes?.arches?.length && !includes.arches.includes(arch)) return false;
  if (includes?.caps?.some((name) => !capabilities.includes(name))) return false;
  return !includes?.minKernel || kernelAtLeast(kernelRelease, includes.minKernel);
}

/** Is a release such as "6.1.0-13-amd64" at least "4.8"? */
export function kernelAtLeast(release: string, minimum: string): boolean {
  const numbers = (text: string) => /^(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number) ?? [0, 0];
  const [major = 0, minor = 0] = numbers(release);
  const [wantedMajor = 0, wantedMinor = 0] = numbers(minimum);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "read seccomp profile" });
}

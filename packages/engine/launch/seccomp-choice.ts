/**
 * Which system call filter a container's processes get: its own profile, the daemon's, the built-in one, or none.
 */
import { readFileSync } from "node:fs";
import type { SecurityOptions } from "#engine/launch/security-options.ts";
import { BerthError } from "#errors/errors.ts";
import {
  defaultSeccomp,
  type ProfileContext,
  parseProfile,
  resolveProfile,
} from "#runtime/seccomp/profile.ts";
import type { SpecSeccomp } from "#runtime/spec-types.ts";

export interface SeccompWish {
  /** Of the container. */
  security: Pick<SecurityOptions, "seccomp">;
  /** `readDefaultProfile`. */
  daemonDefault: string;
  /** Privileged processes have no filter but one that they were given by name. */
  privileged: boolean;
  context: ProfileContext;
}

/** Undefined for no filter. Throws "invalid" for a profile that is none. */
export function seccompFor({
  security,
  daemonDefault,
  privileged,
  context,
}: SeccompWish): SpecSeccomp | undefined {
  if (security.seccomp === "default" && privileged) return undefined;
  const profile = security.seccomp === "default" ? daemonDefault : security.seccomp;
  if (profile === "unconfined") return undefined;
  return ["default", "builtin", ""].includes(profile)
    ? defaultSeccomp(context)
    : resolveProfile(parseProfile(profile), context);
}

/**
 * The daemon's `--seccomp-profile`: "", "builtin" and "unconfined", or a file, as "default", "unconfined" or what is in the
 * file. Throws "invalid" with Docker's text for a file that cannot be read, or that is no profile.
 */
export function readDefaultProfile(given: string): string {
  if (given === "" || given === "builtin" || given === "default") return "default";
  if (given === "unconfined") return given;
  let text: string;
  try {
    text = readFileSync(given, "utf8");
  } catch (cause) {
    const why =
      (cause as NodeJS.ErrnoException).code === "ENOENT" ? "no such file or directory" : String(cause);
    throw new BerthError("invalid", `opening seccomp profile (${given}) failed: open ${given}: ${why}`, {
      operation: "configure daemon",
      object: given,
      cause,
    });
  }
  parseProfile(text);
  return text;
}

/** `--security-opt`, parsed. Pure, but for reading a seccomp profile the client already put inline. */
import type { HostConfig } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";

export interface SecurityOptions {
  noNewPrivileges: boolean;
  /** "default" (the daemon's), "builtin", "unconfined", or a profile in Docker's JSON form. */
  seccomp: string;
  apparmor: string | undefined;
  /** systempaths=unconfined: nothing masked, nothing read-only. */
  unconfinedPaths: boolean;
  /** Whether the container may write to its own control groups; undefined: if it is privileged. */
  writableCgroups: boolean | undefined;
}

/** Throws "invalid" with Docker's text for an option that isn't one. */
export function parseSecurityOptions(options: readonly string[]): SecurityOptions {
  const parsed: SecurityOptions = {
    noNewPrivileges: false,
    seccomp: "default",
    apparmor: undefined,
    unconfinedPaths: false,
    writableCgroups: undefined,
  };
  for (const option of options) {
    const [, name = "", value] = /^([^=:]+)(?:[=:]([\s\S]*))?$/.exec(option) ?? [];
    if (name === "no-new-privileges") {
      parsed.noNewPrivileges = value === undefined || truth(value, option);
    } else if (name === "writable-cgroups" && value !== undefined) {
      parsed.writableCgroups = truth(value, option);
    } else if (name === "seccomp" && value !== undefined) {
      parsed.seccomp = value;
    } else if (name === "apparmor" && value !== undefined) {
      parsed.apparmor = value;
    } else if (name === "systempaths" && value === "unconfined") {
      parsed.unconfinedPaths = true;
    } else if (name !== "label" || value === undefined) {
      throw invalid(option);
    }
  }
  return parsed;
}

/** As Go's strconv.ParseBool has it. */
function truth(text: string, option: string): boolean {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return true;
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return false;
  throw invalid(option);
}

export function checkSecurityOptions(hostConfig: HostConfig): void {
  const { seccomp } = parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  if (["default", "builtin", "unconfined"].includes(seccomp)) return;
  try {
    JSON.parse(seccomp);
  } catch (cause) {
    throw new BerthError("invalid", `Decoding seccomp profile failed: ${cause}`, {
      operation: "create container",
      hint: "give a seccomp profile as JSON, or seccomp=unconfined",
      cause,
    });
  }
}

function invalid(option: string): BerthError {
  // dockerd numbers its two complaints: no value at all, and no option of that name.
  const number = /[=:]/.test(option) ? 2 : 1;
  return new BerthError("invalid", `invalid --security-opt ${number}: ${JSON.stringify(option)}`, {
    operation: "create container",
  });
}

/**
 * Names under which the kernel's security modules know a container: `process.apparmorProfile`, `process.selinuxLabel`,
 * `linux.mountLabel`. On a kernel without the module a name is an error, not a wish: whoever gave it relies on it. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { SpecMount, SpecProcess } from "#runtime/spec-types.ts";

/** File systems whose files the kernel labels by itself, or that take no label from a mount. */
const UNLABELLED = new Set(["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "bind"]);

/** Throws "invalid". */
export function checkLabels({ apparmorProfile, selinuxLabel }: SpecProcess, host: HostFacts): void {
  if (apparmorProfile && !host.apparmor) {
    const profile = JSON.stringify(apparmorProfile);
    throw refuse(
      `process.apparmorProfile: unable to apply apparmor profile ${profile}: apparmor is not enabled`,
    );
  }
  if (selinuxLabel && !host.selinux) throw withoutSelinux("process.selinuxLabel");
}

/** The mounts with `linux.mountLabel` where the kernel takes one. Throws "invalid" where there is no SELinux. */
export function labelMounts(
  mounts: readonly SpecMount[],
  label: string | undefined,
  host: HostFacts,
): SpecMount[] {
  if (!label) return [...mounts];
  if (!host.selinux) throw withoutSelinux("linux.mountLabel");
  return mounts.map((mount) => {
    const { type = "bind", options = [] } = mount;
    const bind = options.includes("bind") || options.includes("rbind");
    return UNLABELLED.has(type) || bind ? mount : { ...mount, options: [...options, `context=${label}`] };
  });
}

/** A file of /proc/self/attr, and what to write there; the names take effect at the next execve. */
export function labelsForExec({ apparmorProfile, selinuxLabel }: SpecProcess): {
  file: string;
  text: string;
  why: string;
}[] {
  const labels = [];
  if (apparmorProfile) {
    const why = `take AppArmor profile ${apparmorProfile}`;
    labels.push({ file: "attr/apparmor/exec", text: `exec ${apparmorProfile}`, why });
  }
  if (selinuxLabel) {
    const why = `take SELinux label ${selinuxLabel}`;
    // Keys made from here on, such as the session keyring, get it at once.
    labels.push({ file: "attr/keycreate", text: selinuxLabel, why });
    labels.push({ file: "attr/exec", text: selinuxLabel, why });
  }
  return labels;
}

/** For a process that still sees the host's procfs. */
export function takeLabels(w: ProgramWriter, process: SpecProcess): void {
  for (const { file, text, why } of labelsForExec(process)) w.writeFile(`/proc/self/${file}`, text, why);
}

function withoutSelinux(field: string): BerthError {
  return refuse(`${field}: selinux label is specified in config, but selinux is disabled or not supported`);
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "compile process" });
}

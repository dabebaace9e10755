/** Network namespaces joined by path may be the one we are in; what is set there would be everybody's. */
import { statSync } from "node:fs";
import { BerthError } from "#errors/errors.ts";
import type { Spec } from "#runtime/spec-types.ts";

const OWN = "/proc/self/ns/net";

/** Throws "invalid" for sysctls of the host's network. Other namespaces are told apart by the compiler. */
export function checkNetworkSysctls({ linux }: Spec): void {
  const path = linux?.namespaces?.find(({ type }) => type === "network")?.path;
  const name = Object.keys(linux?.sysctl ?? {}).find((key) => /^net[./]/.test(key));
  if (!path || name === undefined) return;
  const [own, joined] = [OWN, path].map((one) => statSync(one, { throwIfNoEntry: false }));
  // One that isn't there is the compiled program's to complain of.
  if (joined === undefined || joined.dev !== own?.dev || joined.ino !== own.ino) return;
  throw new BerthError("invalid", `linux.sysctl: sysctl "${name}" not allowed in host network namespace`, {
    operation: "create container",
    object: path,
  });
}

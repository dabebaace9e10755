/**
 * Fields of `linux` (config-linux.md) that are neither namespaces, mounts nor control groups: what they may say, by the
 * name of the field, before anything is made. Pure.
 */
import { BerthError } from "#errors/errors.ts";
import { checkPersonality, personalityWarnings } from "#runtime/compile/personality.ts";
import { checkIntelRdt } from "#runtime/compile/resource-director.ts";
import type { HostFacts } from "#runtime/launch-types.ts";
import type { SpecLinux } from "#runtime/spec-types.ts";

/** The clocks that have an offset in a time namespace (time_namespaces(7)). */
const CLOCKS = new Set(["monotonic", "boottime"]);
const NANOSECONDS = 1_000_000_000;

/** Throws "invalid", naming the field. */
export function checkLinux(linux: SpecLinux, host: HostFacts): void {
  if (linux.personality) checkPersonality(linux.personality);
  if (linux.intelRdt) checkIntelRdt(linux.intelRdt, host);
  for (const [clock, { secs = 0, nanosecs = 0 }] of Object.entries(linux.timeOffsets ?? {})) {
    if (!CLOCKS.has(clock)) throw refuse(`unknown clock ${JSON.stringify(clock)}`);
    if (!Number.isSafeInteger(secs)) throw refuse(`${clock}.secs: ${secs} is no whole number`);
    if (!Number.isInteger(nanosecs) || nanosecs < 0 || nanosecs >= NANOSECONDS)
      throw refuse(`${clock}.nanosecs: ${nanosecs} is not from 0 to ${NANOSECONDS - 1}`);
  }
}

/** What is passed over, for the user to know. */
export function linuxWarnings(linux: SpecLinux): string[] {
  const { personality, namespaces = [], uidMappings = [], gidMappings = [] } = linux;
  const mapped = uidMappings.length > 0 || gidMappings.length > 0;
  const unused = mapped && !namespaces.some(({ type }) => type === "user");
  return [
    ...(personality ? personalityWarnings(personality) : []),
    ...(unused ? ["linux.uidMappings, linux.gidMappings: passed over without a user namespace"] : []),
  ];
}

function refuse(message: string): BerthError {
  return new BerthError("invalid", `linux.timeOffsets: ${message}`, { operation: "compile container" });
}

/** `linux.personality` (config-linux.md): as what kind of machine the kernel shows itself. Pure. */
import { BerthError } from "#errors/errors.ts";
import type { ProgramWriter } from "#runtime/compile/program-writer.ts";
import type { SpecLinux } from "#runtime/spec-types.ts";

/** linux/personality.h */
const DOMAINS: Readonly<Record<string, number>> = { LINUX: 0x0000, LINUX32: 0x0008 };

type Personality = NonNullable<SpecLinux["personality"]>;

/** Throws "invalid" for another domain than the specification's two. */
export function checkPersonality({ domain }: Personality): void {
  if (Object.hasOwn(DOMAINS, domain)) return;
  throw new BerthError("invalid", `linux.personality.domain: invalid personality domain ${domain}`, {
    operation: "compile container",
    hint: "LINUX and LINUX32 are known",
  });
}

/** The specification has no flag yet. */
export function personalityWarnings({ flags = [] }: Personality): string[] {
  return flags.length === 0
    ? []
    : [`linux.personality.flags: ignoring unsupported personality flags: ${flags.join(" ")}`];
}

export function setPersonality(w: ProgramWriter, { domain }: Personality): void {
  w.b.sys("personality", [DOMAINS[domain] ?? 0], { why: `set linux.personality to ${domain}` });
}

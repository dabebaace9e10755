/**
 * Which devices a bundle's container may use: none but those its configuration allows, and always those that every
 * container is to have (config-linux.md, "Default Devices") with the terminals that it makes itself. Pure.
 */
import type { Spec, SpecDeviceRule } from "#runtime/spec-types.ts";

const allow = (type: string, major: number, minor: number, access = "rwm"): SpecDeviceRule => ({
  allow: true,
  type,
  major,
  minor,
  access,
});
const ANY = -1;

const ALWAYS: readonly SpecDeviceRule[] = [
  // Nodes may be made, which gives no access to what is behind them.
  allow("c", ANY, ANY, "m"),
  allow("b", ANY, ANY, "m"),
  allow("c", 1, 3),
  allow("c", 1, 5),
  allow("c", 1, 7),
  allow("c", 1, 8),
  allow("c", 1, 9),
  allow("c", 5, 0),
  allow("c", 5, 2),
  allow("c", 136, ANY),
];

/** The configuration with its device rules made complete. */
export function withDeviceAccess(spec: Spec): Spec {
  const given = spec.linux?.resources?.devices ?? [];
  const devices = [{ allow: false, access: "rwm" }, ...given, ...ALWAYS];
  return { ...spec, linux: { ...spec.linux, resources: { ...spec.linux?.resources, devices } } };
}

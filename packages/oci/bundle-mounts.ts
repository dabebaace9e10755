/**
 * A bundle's mounts in the terms of the host: sources of bind mounts may be named relative to the bundle. What is odd but
 * accepted is said.
 */
import { isAbsolute, resolve } from "node:path";
import { warn } from "#oci/warnings.ts";
import type { Spec } from "#runtime/spec-types.ts";

/** The configuration with absolute sources. */
export function withAbsoluteSources(spec: Spec, bundle: string): Spec {
  if (!Array.isArray(spec.mounts)) return spec;
  const mounts = spec.mounts.map((mount) => {
    const { destination, source, options = [] } = mount;
    if (typeof destination === "string" && !isAbsolute(destination)) {
      warn(`mount destination ${destination} is not absolute: taken from the root of the container`);
    }
    const bind = options.includes("bind") || options.includes("rbind");
    return bind && source && !isAbsolute(source) ? { ...mount, source: resolve(bundle, source) } : mount;
  });
  return { ...spec, mounts };
}

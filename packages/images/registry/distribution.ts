/**
 * What a name stands for at its registry: digest, media type, size, platforms. Fetches the manifest and at most one
 * configuration, keeps nothing.
 */
import type { RegistryAuth } from "#api-types/image.ts";
import { BerthError } from "#errors/errors.ts";
import { configLimit, parseImageConfig } from "../image-config.ts";
import { familiarText, parseReference, withDefaultTag } from "../reference.ts";
import { type ConnectOptions, connectToPull } from "./connect.ts";
import { parseManifest } from "./manifest.ts";
import { inspectError } from "./registry-error.ts";
import type { RegistrySession } from "./registry-session.ts";
import { usableAuth } from "./usable-auth.ts";

interface DistributionPlatform {
  architecture: string;
  os: string;
  variant?: string;
}

export interface DistributionAnswer {
  Descriptor: { mediaType: string; digest: string; size: number };
  Platforms: DistributionPlatform[];
}

/** Throws BerthError: not-found in the registry's words. */
export function inspectDistribution(
  name: string,
  auth: RegistryAuth | undefined,
  options: ConnectOptions,
  signal: AbortSignal | undefined,
): Promise<DistributionAnswer> {
  const reference = withDefaultTag(parseReference(name));
  const look = async (session: RegistrySession): Promise<DistributionAnswer> => {
    const { bytes, digest, mediaType } = await session.manifest(
      reference.digest ?? reference.tag ?? "latest",
      signal,
    );
    const text = familiarText(reference);
    const parsed = parseManifest(bytes, mediaType, text);
    const Platforms =
      parsed.kind === "index"
        ? parsed.manifests.flatMap(({ platform }) =>
            platform?.os && platform.architecture
              ? [described(platform.os, platform.architecture, platform.variant)]
              : [],
          )
        : [await platformOf(session, parsed.config.digest, text, signal)];
    const type = mediaType.split(";")[0]?.trim() ?? "";
    return { Descriptor: { mediaType: type, digest, size: bytes.length }, Platforms };
  };
  return connectToPull(reference, usableAuth(auth), options, signal, look, inspectError);
}

async function platformOf(
  session: RegistrySession,
  config: string,
  name: string,
  signal: AbortSignal | undefined,
): Promise<DistributionPlatform> {
  const document = parseImageConfig(await session.smallBlob(config, configLimit, signal), name);
  if (document.architecture === "" && document.os === "") {
    throw new BerthError("invalid", `${name} has no platform`, {
      operation: "inspect distribution",
      object: name,
    });
  }
  return described(document.os, document.architecture, document.variant);
}

function described(os: string, architecture: string, variant: string | undefined): DistributionPlatform {
  return { architecture, os, ...(variant ? { variant } : {}) };
}

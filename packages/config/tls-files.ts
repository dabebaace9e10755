/** The certificates of `--tls` and `--tlsverify`: which files are needed, and what is in them. */
import { readFileSync } from "node:fs";
import type { DaemonConfig } from "#config/config-types.ts";
import { BerthError } from "#errors/errors.ts";

export interface TlsFiles {
  /** PEM. */
  cert: string;
  key: string;
  ca?: string;
  /** Only clients with a certificate of `ca` are let in. */
  verify: boolean;
}

type TlsSettings = Pick<DaemonConfig, "tls" | "tlsVerify" | "tlsCaCert" | "tlsCert" | "tlsKey">;

/** Undefined where TLS is not asked for. Throws "invalid" for a file that is not named or cannot be read. */
export function readTlsFiles(settings: TlsSettings): TlsFiles | undefined {
  const { tls, tlsVerify: verify, tlsCaCert, tlsCert, tlsKey } = settings;
  if (!tls && !verify) return undefined;
  return {
    cert: read("tlscert", tlsCert),
    key: read("tlskey", tlsKey),
    // Without an authority to check by, everybody's certificate would do.
    ...(verify || tlsCaCert !== "" ? { ca: read("tlscacert", tlsCaCert) } : {}),
    verify,
  };
}

function read(flag: string, path: string): string {
  const problem = (why: string, cause?: unknown) =>
    new BerthError("invalid", `cannot use TLS: ${why}`, {
      operation: "configure daemon",
      object: path || `--${flag}`,
      hint: `--tlscert and --tlskey name the daemon's certificate and key, --tlscacert the authority of its clients'`,
      cause,
    });
  if (path === "") throw problem(`--${flag} is missing`);
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw problem(`--${flag}: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
}

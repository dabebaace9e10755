/** The platform of a push, save or load comes as JSON (`{"os":"linux","architecture":"arm64"}`). */
import { BerthError } from "#errors/errors.ts";

/** "linux/arm64/v8", which is taken as it is, too. Throws "invalid". */
export function platformText(given: string, operation: string): string {
  if (!given.trimStart().startsWith("{")) return given;
  try {
    const { os, architecture, variant } = JSON.parse(given) as Record<string, unknown>;
    return [os, architecture, variant].filter((part) => typeof part === "string" && part !== "").join("/");
  } catch (cause) {
    throw new BerthError("invalid", `failed to parse platform: ${(cause as Error).message}`, {
      operation,
      object: given,
      cause,
    });
  }
}

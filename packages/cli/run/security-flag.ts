/** --security-opt: a seccomp profile is read here and sent as text; "systempaths=unconfined" empties two lists. */
import type { ReadFile } from "#cli/run/environment.ts";

/** Throws Error with Docker's text. */
export function securityOptions(
  given: readonly string[],
  readFile: ReadFile,
): { options: string[]; unconfinedPaths: boolean } {
  const options: string[] = [];
  let unconfinedPaths = false;
  for (const option of given) {
    const match = /^([^=:]+)[=:](.*)$/s.exec(option);
    if (!match && option !== "no-new-privileges")
      throw new Error(`Invalid --security-opt: ${JSON.stringify(option)}`);
    const [, name, value = ""] = match ?? [];
    if (option === "systempaths=unconfined") unconfinedPaths = true;
    else if (name === "seccomp" && value !== "unconfined" && value !== "builtin")
      options.push(`seccomp=${profile(value, readFile)}`);
    else options.push(option);
  }
  return { options, unconfinedPaths };
}

function profile(path: string, readFile: ReadFile): string {
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    throw new Error(
      `opening seccomp profile (${path}) failed: ${error instanceof Error ? error.message : error}`,
    );
  }
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (error) {
    throw new Error(
      `compacting json for seccomp profile (${path}) failed: ${error instanceof Error ? error.message : error}`,
    );
  }
}

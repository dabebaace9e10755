/** --env, --env-file, --label-file: lists of name=value; where a name comes twice, the daemon takes the later. */

/** Reads a file of the user's; throws Error with the system's text. */
export type ReadFile = (path: string) => string;

/** The names and values of -e and --env-file; a name without value takes the client's own, if it has one. */
export function environment(
  files: readonly string[],
  given: readonly string[],
  env: Record<string, string | undefined>,
  readFile: ReadFile,
): string[] {
  const result: string[] = [];
  for (const file of files)
    for (const line of keyValueLines(file, readFile, "env")) {
      if (line.includes("=")) result.push(line);
      // Other than with -e, a name that is not set here is left out.
      else if (env[line] !== undefined) result.push(`${line}=${env[line]}`);
    }
  for (const entry of given)
    result.push(entry.includes("=") || env[entry] === undefined ? entry : `${entry}=${env[entry]}`);
  return result;
}

/** Lines "name=value" or "name" of a file, comments and empty lines left out. Throws Error with Docker's text. */
export function keyValueLines(path: string, readFile: ReadFile, kind: "env" | "label"): string[] {
  const lines: string[] = [];
  const invalid = (why: string) => new Error(`invalid ${kind} file (${path}): ${why}`);
  const text = readFile(path).replace(/^\uFEFF/, "");
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trimStart();
    if (line === "" || line.startsWith("#")) continue;
    const [name = ""] = line.split("=", 1);
    if (name === "") throw invalid(`no variable name on line '${line}'`);
    if (/\s/.test(name)) throw invalid(`variable '${name}' contains whitespaces`);
    lines.push(line);
  }
  return lines;
}

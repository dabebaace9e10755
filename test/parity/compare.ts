/** What two engines have answered, side by side. Pure. */

export interface Difference {
  /** "stderr", "code", or a path into what inspect shows: ".HostConfig.Memory". */
  where: string;
  dockerd: string;
  berth: string;
}

/** A command line's words; quotes of both kinds keep spaces. */
export function words(line: string): string[] {
  return (line.match(/'[^']*'|"[^"]*"|\S+/g) ?? []).map((word) => word.replace(/^(['"])(.*)\1$/, "$2"));
}

/** Every leaf of a JSON value by its path; lists are leaves, the order of an object's keys is nobody's promise. */
export function leaves(value: unknown, at = "", into: Map<string, string> = new Map()): Map<string, string> {
  if (value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0) {
    for (const [key, inner] of Object.entries(value)) leaves(inner, `${at}.${key}`, into);
  } else into.set(at, JSON.stringify(value, sorted) ?? "undefined");
  return into;
}

function sorted(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function differences(dockerd: unknown, berth: unknown): Difference[] {
  const [theirs, ours] = [leaves(dockerd), leaves(berth)];
  const paths = new Set([...theirs.keys(), ...ours.keys()]);
  return [...paths]
    .map((where) => ({
      where,
      dockerd: theirs.get(where) ?? "undefined",
      berth: ours.get(where) ?? "undefined",
    }))
    .filter((one) => one.dockerd !== one.berth);
}

export function show({ where, dockerd, berth }: Difference): string {
  return `${where}\n  dockerd ${dockerd}\n  berth   ${berth}`;
}

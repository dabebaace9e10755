/**
 * `userns-remap`: whose subordinate ids (subuid(5), subgid(5)) the users of containers are on the host. Pure: the host's
 * databases are texts and look-ups that somebody else makes. Texts of errors are dockerd's.
 */
import { BerthError } from "#errors/errors.ts";

/** Ids of a container, from `inside` on, as ids of the host, from `outside` on. */
export interface IdRange {
  inside: number;
  outside: number;
  count: number;
}

export interface Account {
  name: string;
  id: number;
}

/** Look-ups by name or, given a number, by id; they throw what dockerd tells as the reason. */
export interface Accounts {
  user(key: string | number): Account;
  group(key: string | number): Account;
}

/** User and group that `default` stands for. */
export const DEFAULT_ACCOUNT = "dockremap";

export type Remap =
  /** Root itself: nothing to map. */
  | { kind: "off" }
  /** `default`, and there is no such user yet. */
  | { kind: "create" }
  | { kind: "user"; user: Account; group: string };

/** "default", "user", "uid", "user:group", "uid:gid" … Throws "invalid" for accounts that aren't there. */
export function resolveRemap(value: string, accounts: Accounts): Remap {
  const [first = "", second, ...more] = value.split(":");
  if (more.length > 0 || first === "" || second === "") {
    throw invalid(`Invalid user/group specification in --userns-remap: ${JSON.stringify(value)}`);
  }
  let user: Account;
  let group: string | undefined;
  if (isNumber(first)) {
    user = found(() => accounts.user(Number(first)), `Uid ${first} has no entry in /etc/passwd`);
    if (second === undefined)
      group = found(() => accounts.group(Number(first)), `Gid ${first} has no entry in /etc/group`).name;
  } else {
    const name = first === "default" ? DEFAULT_ACCOUNT : first;
    try {
      user = accounts.user(name);
    } catch (cause) {
      if (first === "default") return { kind: "create" };
      throw invalid(`Error during uid lookup for ${JSON.stringify(name)}: ${textOf(cause)}`);
    }
    if (second === undefined)
      group = found(() => accounts.group(name), `Error during gid lookup for ${JSON.stringify(name)}`).name;
  }
  if (second !== undefined) {
    const what = isNumber(second)
      ? `Gid ${second} has no entry in /etc/passwd`
      : `Error during groupname lookup for ${JSON.stringify(second)}`;
    group = found(() => accounts.group(isNumber(second) ? Number(second) : second), what).name;
  }
  if (user.name === "root") return { kind: "off" };
  return { kind: "user", user, group: group ?? user.name };
}

/**
 * A user's ranges in the text of /etc/subuid or /etc/subgid (`path`), those of its number or else of its name, one after the
 * other from the container's 0 on. Throws "invalid" where a line cannot be read or none is the user's.
 */
export function subordinateRanges(text: string, path: string, user: Account): IdRange[] {
  const lines = parseSubordinates(text, path);
  const ownedBy = (owner: string) => lines.filter((line) => line.owner === owner);
  const byNumber = ownedBy(String(user.id));
  const own = byNumber.length > 0 ? byNumber : ownedBy(user.name);
  const ranges: IdRange[] = [];
  let inside = 0;
  for (const { start, count } of own) {
    if (count > 0) ranges.push({ inside, outside: start, count });
    inside += count;
  }
  if (ranges.length === 0) {
    const kind = path.endsWith("subgid") ? "subgid" : "subuid";
    throw invalid(
      `Can't create ID mappings: no ${kind} ranges found for user ${JSON.stringify(user.name)}`,
      `add a line such as ${user.name}:100000:65536 to ${path}`,
    );
  }
  return ranges;
}

/** A range of `count` ids for a new user: behind the first gap that is wide enough, from 100,000 on. */
export function freeRange(text: string, path: string, count: number): number {
  let start = 100_000;
  const taken = parseSubordinates(text, path).sort((one, other) => one.start - other.start);
  for (const range of taken) {
    if (range.start + range.count <= start) continue;
    if (range.start >= start + count) break;
    start = range.start + range.count;
  }
  return start;
}

interface Line {
  owner: string;
  start: number;
  count: number;
}

function parseSubordinates(text: string, path: string): Line[] {
  const lines = text.split("\n").map((line) => line.trim());
  return lines
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [owner = "", start = "", count = "", ...more] = line.split(":");
      if (line.split(":").length < 3 || more.length > 0) {
        throw invalid(
          `Can't create ID mappings: Cannot parse subuid/gid information: Format not correct for ${path} file`,
        );
      }
      return { owner, start: idOf(start, path), count: idOf(count, path) };
    });
}

function idOf(text: string, path: string): number {
  if (isNumber(text) && Number(text) <= 0xffff_ffff) return Number(text);
  throw invalid(
    `Can't create ID mappings: String to int conversion failed during subuid/gid parsing of ${path}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
  );
}

function found(look: () => Account, otherwise: string): Account {
  try {
    return look();
  } catch (cause) {
    throw invalid(`${otherwise}: ${textOf(cause)}`);
  }
}

const isNumber = (text: string): boolean => /^\d{1,10}$/.test(text);

const textOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

function invalid(message: string, hint?: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "configure daemon",
    object: "userns-remap",
    ...(hint !== undefined && { hint }),
  });
}

/**
 * Who a container's process is: "user[:group]" looked up in the texts of the image's passwd and group files. Pure: the
 * files are read elsewhere, by descriptor, inside the root and with a size limit.
 *
 * A number is always the number, whatever the files say about such a name, and a number out of range is an error, never
 * a name: an image must not choose the identity of `-u 1000`.
 */
import { BerthError } from "#errors/errors.ts";

/** The files of the image; undefined or empty where there is none. */
export interface UserFiles {
  passwd?: string | undefined;
  group?: string | undefined;
}

export interface ResolvedUser {
  uid: number;
  gid: number;
  /** Supplementary groups, without repetitions; the primary group is one of them. */
  additionalGids: number[];
  /** Home directory for HOME; "/" if the files have none. */
  home: string;
  /** Login name where the passwd file has one. */
  name: string | undefined;
}

/** Larger ids wrap in signed 32-bit code elsewhere; Docker has the same bound. */
const MAX_ID = 2 ** 31 - 1;
/** The kernel's bound on supplementary groups (NGROUPS_MAX). */
const MAX_GROUPS = 65_536;

/**
 * Resolves "", "user", "uid", "user:group", ":group" …; `groupAdd` are names or numbers of further groups.
 * Throws "invalid" for what cannot be an id, and for names the files do not have.
 */
export function resolveUser(
  given: string,
  files: UserFiles = {},
  groupAdd: readonly string[] = [],
): ResolvedUser {
  const colon = given.indexOf(":");
  const userPart = colon < 0 ? given : given.slice(0, colon);
  const groupPart = colon < 0 ? "" : given.slice(colon + 1);
  const groups = files.group ?? "";
  const { uid, entry } = findUser(userPart, files.passwd ?? "");
  const additional = new Set<number>();
  let gid = entry?.gid ?? 0;
  if (groupPart !== "") {
    gid = findGroup(groupPart, groups);
    additional.add(gid);
  } else {
    additional.add(gid);
    if (entry !== undefined) for (const group of groupsOf(entry.name, groups)) additional.add(group);
  }
  for (const group of groupAdd) additional.add(findGroup(group, groups));
  if (additional.size > MAX_GROUPS) {
    throw invalid(`user ${given || "root"} is in more than ${MAX_GROUPS} groups`);
  }
  return { uid, gid, additionalGids: [...additional], home: entry?.home || "/", name: entry?.name };
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

function findUser(text: string, passwd: string): { uid: number; entry: PasswdEntry | undefined } {
  const wanted = text === "" ? 0 : parseId(text);
  for (const line of lines(passwd)) {
    const [name = "", , uidText = "", gidText = "", , home = ""] = line.split(":");
    const uid = fileId(uidText);
    const gid = fileId(gidText);
    if (uid === undefined || gid === undefined) continue;
    if (wanted === undefined ? name === text : uid === wanted) {
      return { uid, entry: { name, uid, gid, home } };
    }
  }
  if (wanted === undefined) throw invalid(`unable to find user ${text}: no matching entries in passwd file`);
  return { uid: wanted, entry: undefined };
}

function findGroup(text: string, group: string): number {
  const wanted = parseId(text);
  if (wanted !== undefined) return wanted;
  for (const line of lines(group)) {
    const [name, , gidText = ""] = line.split(":", 3);
    const gid = fileId(gidText);
    if (name === text && gid !== undefined) return gid;
  }
  throw invalid(`unable to find group ${text}: no matching entries in group file`);
}

function* groupsOf(user: string, group: string): Generator<number> {
  for (const line of lines(group)) {
    const [, , gidText = "", members = ""] = line.split(":");
    const gid = fileId(gidText);
    if (gid !== undefined && members.split(",").some((member) => member.trim() === user)) yield gid;
  }
}

/** A number in range, undefined for a name. Throws for anything that looks like a number and is not an id. */
function parseId(text: string): number | undefined {
  if (!/^[+-]?\d+$/.test(text)) return undefined;
  const value = Number(text);
  if (!/^\d/.test(text) || value > MAX_ID) {
    throw invalid(`uids and gids must be in range 0-${MAX_ID}: ${text}`);
  }
  return value;
}

/** An id in a file; a damaged line is no entry. */
function fileId(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= MAX_ID ? value : undefined;
}

/** Lines one at a time: the text may be large, and most of it is not wanted. */
function* lines(text: string): Generator<string> {
  let start = 0;
  while (start < text.length) {
    const end = text.indexOf("\n", start);
    const line = text.slice(start, end < 0 ? text.length : end).trim();
    if (line !== "" && !line.startsWith("#")) yield line;
    if (end < 0) return;
    start = end + 1;
  }
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "resolve user" });
}

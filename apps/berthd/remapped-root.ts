/**
 * `userns-remap` at the daemon's start: finds the user and its subordinate ids in the host's databases, makes the user for
 * `default`, and gives the daemon roots of its own, so that what was stored without the mapping, or with another one, stays
 * as it is and is there again when the option is gone.
 *
 * Runs before anything else, once; it may wait for other programs.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, chmodSync, chownSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DaemonConfig } from "#config/config-types.ts";
import {
  type Account,
  type Accounts,
  DEFAULT_ACCOUNT,
  freeRange,
  resolveRemap,
  subordinateRanges,
} from "#config/userns-remap.ts";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { type IdMap, rootOf } from "#storage/unpack/id-map.ts";

/** As many ids as a new user gets: those of 16 bits. */
const NEW_RANGE = 65_536;
const SUBUID = "/etc/subuid";
const SUBGID = "/etc/subgid";
/** Exit status of getent(1) for a key that isn't there. */
const NOT_FOUND = 2;

/** The ids of containers' users; undefined where they are the host's. Throws "invalid" with dockerd's texts. */
export function readRemap(value: string, logger: Logger): IdMap | undefined {
  if (value === "") return undefined;
  const remap = resolveRemap(value, hostAccounts);
  if (remap.kind === "off") {
    logger.warn("User namespaces: root cannot be remapped with itself; user namespaces are OFF");
    return undefined;
  }
  const user = remap.kind === "create" ? makeDefaultUser() : remap.user;
  logger.info(`User namespaces: ID ranges will be mapped to subuid/subgid ranges of: ${user.name}`);
  return {
    uids: subordinateRanges(readOr(SUBUID), SUBUID, user),
    gids: subordinateRanges(readOr(SUBGID), SUBGID, user),
  };
}

/** Where the daemon keeps everything with this mapping: `<data-root>/<uid>.<gid>`, as Docker, and `<exec-root>/u<uid>`. */
export function remappedRoots<Config extends Pick<DaemonConfig, "dataRoot" | "execRoot">>(
  config: Config,
  idMap: IdMap | undefined,
): Config {
  if (idMap === undefined) return config;
  const { uid, gid } = rootOf(idMap);
  // The names of sockets under the exec root have to stay short.
  return {
    ...config,
    dataRoot: join(config.dataRoot, `${uid}.${gid}`),
    execRoot: join(config.execRoot, `u${uid}`),
  };
}

/** Makes the directory of `remappedRoots`, that containers' root may pass through and nobody else. */
export function makeRemappedRoot(dataRoot: string, idMap: IdMap): void {
  mkdirSync(dataRoot, { recursive: true, mode: 0o710 });
  chownSync(dataRoot, 0, rootOf(idMap).gid);
  chmodSync(dataRoot, 0o710);
}

const hostAccounts: Accounts = {
  user: (key) => lookUp("passwd", key),
  group: (key) => lookUp("group", key),
};

/** In the file, or wherever else the host keeps its accounts. */
function lookUp(database: "passwd" | "group", key: string | number): Account {
  const wanted = (line: string): Account | undefined => {
    const [name = "", , id = ""] = line.split(":");
    const found = { name, id: Number(id) };
    return (typeof key === "number" ? found.id === key : name === key) ? found : undefined;
  };
  for (const line of readOr(`/etc/${database}`).split("\n")) {
    const found = line.includes(":") ? wanted(line) : undefined;
    if (found !== undefined) return found;
  }
  try {
    const line = execFileSync("getent", [database, "--", String(key)], { encoding: "utf8", stdio: "pipe" });
    const found = wanted(line.trim());
    if (found !== undefined) return found;
  } catch (cause) {
    const { status } = cause as { status?: number };
    if (status !== NOT_FOUND) throw cause;
  }
  throw new Error(`getent unable to find entry ${JSON.stringify(String(key))} in ${database} database`);
}

/** A system user without home, shell and password, with ranges that nobody has. */
function makeDefaultUser(): Account {
  try {
    const options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"];
    run("useradd", [...options, "--shell", "/bin/false", DEFAULT_ACCOUNT]);
    for (const path of [SUBUID, SUBGID]) addRange(path);
    return hostAccounts.user(DEFAULT_ACCOUNT);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BerthError(
      "internal",
      `Error during ${JSON.stringify(DEFAULT_ACCOUNT)} user creation: ${why}`,
      {
        operation: "configure daemon",
        object: "userns-remap",
        hint: `make the user ${DEFAULT_ACCOUNT} and give it ranges in ${SUBUID} and ${SUBGID}`,
        cause,
      },
    );
  }
}

/** One line, unless useradd or somebody before it has put one there. */
function addRange(path: string): void {
  const text = readOr(path);
  if (text.split("\n").some((line) => line.startsWith(`${DEFAULT_ACCOUNT}:`))) return;
  const separator = text === "" || text.endsWith("\n") ? "" : "\n";
  appendFileSync(path, `${separator}${DEFAULT_ACCOUNT}:${freeRange(text, path, NEW_RANGE)}:${NEW_RANGE}\n`);
}

function run(program: string, args: readonly string[]): void {
  try {
    execFileSync(program, args, { encoding: "utf8", stdio: "pipe" });
  } catch (cause) {
    const { stderr } = cause as { stderr?: string };
    throw new Error(`${program} failed: ${stderr?.trim() || cause}`, { cause });
  }
}

function readOr(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw cause;
  }
}

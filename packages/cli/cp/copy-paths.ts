/**
 * The arguments of `cp`: which is a container's path, and where what is copied ends up. Pure.
 *
 * The rules are Docker's: what lands in an existing directory keeps its name, what lands where nothing is gets the name
 * that was given; "/." at the end of a source means what is in it; "/" at the end of a destination says that it is a directory.
 */
import { posix } from "node:path";

export interface CopyArgument {
  /** Undefined for a path of this machine. */
  container: string | undefined;
  path: string;
}

/** "container:path", or a path where that begins with "/" or ".", or has no colon. */
export function parseCopyArgument(text: string): CopyArgument {
  const colon = text.indexOf(":");
  if (text.startsWith("/") || text.startsWith(".") || colon < 0) return { container: undefined, path: text };
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** What is known of one side of a copy. */
export interface Place {
  /** As given, made absolute. */
  path: string;
  exists: boolean;
  isDirectory: boolean;
}

export interface Landing {
  /** The existing directory to unpack into. */
  directory: string;
  /** The name there; "." puts what is in the source into the directory itself. */
  name: string;
}

/** Where the source lands. Throws Error in Docker's words for what cannot be. */
export function landing(source: Place, target: Place): Landing {
  const contents = source.isDirectory && /(^|\/)\.\/*$/.test(source.path);
  if (target.exists && target.isDirectory) {
    return { directory: target.path, name: contents ? "." : posix.basename(source.path) || "." };
  }
  if (target.exists && source.isDirectory) throw new Error("cannot copy directory");
  if (!source.isDirectory && target.path.endsWith("/")) {
    throw new Error(target.exists ? "not a directory" : "no such directory");
  }
  const clean = posix.resolve(target.path);
  return { directory: posix.dirname(clean), name: posix.basename(clean) };
}

/** Absolute, with a final "/" or "/." kept: both mean something. */
export function keepEnd(absolute: string, given: string): string {
  const clean = posix.resolve(absolute);
  const under = clean.endsWith("/") ? clean : `${clean}/`;
  if (/(^|\/)\.$/.test(given)) return `${under}.`;
  return given.endsWith("/") ? under : clean;
}

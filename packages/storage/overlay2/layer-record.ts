/**
 * What a layer's small files say: `link`, its short name, and `lower`, those of the layers below. Read once for each layer.
 *
 * A file that a power cut or a bad disk has left without sense is written again from what others say: the links in `l/` name
 * their layers, and a layer's list is the end of every list above it. Where nobody knows, the error names the file and what
 * helps; other layers are not touched.
 */
import { readdirSync, readlinkSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { symlinkat } from "#kernel/file-syscalls.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import { pathExists, readIfExists } from "#storage/layer-files.ts";
import { initSuffix, noSuchLayer } from "#storage/layer-names.ts";
import { linkDirectory, linkedCacheId, linkTarget, parseLower } from "#storage/overlay2/layer-links.ts";

export interface LayerRecord {
  link: string;
  /** "l/AAA" …, uppermost first. */
  lower: string[];
}

const SHORT_NAME = /^[A-Z2-7]{26}$/;
const LOWER_ENTRY = /^l\/[A-Z2-7]{26}$/;

/** Throws "not-found" for a layer that is not there, "internal" for one that cannot be read or put right. */
export function readLayerRecord(home: string, cacheId: string): LayerRecord {
  const link = readLink(home, cacheId) ?? repairLink(home, cacheId);
  const lower = readLower(home, cacheId) ?? repairLower(home, cacheId, link);
  return { link, lower };
}

/** Makes the links in `l/` again that layers in `home` have lost. `linked`: those that have theirs. */
export function restoreLinks(home: string, linked: ReadonlySet<string>): void {
  for (const name of readdirSync(home)) {
    if (name === linkDirectory || name.startsWith(".") || linked.has(name)) continue;
    const link = readLink(home, name);
    if (link === undefined) continue;
    const path = join(home, linkDirectory, link);
    if (pathExists(path) && leadsTo(path) !== undefined) continue;
    if (pathExists(path)) unlinkSync(path);
    symlinkat(linkTarget(name), AT_FDCWD, path);
  }
}

/** The layer that a link leads to; undefined for what is none of ours. */
export function leadsTo(path: string): string | undefined {
  try {
    return linkedCacheId(readlinkSync(path));
  } catch (error) {
    // A file that is no link, or nothing at all.
    if (isErrno(error, "EINVAL") || isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function readLink(home: string, cacheId: string): string | undefined {
  const text = readIfExists(join(home, cacheId, "link"))?.trim();
  return text !== undefined && SHORT_NAME.test(text) ? text : undefined;
}

/** Undefined for a list that is damaged. A lowest layer has none, and no directory to work in either. */
function readLower(home: string, cacheId: string): string[] | undefined {
  const text = readIfExists(join(home, cacheId, "lower"));
  if (text === undefined && !pathExists(join(home, cacheId, "work"))) return [];
  const lower = parseLower(text ?? "");
  return lower.length > 0 && lower.every((entry) => LOWER_ENTRY.test(entry)) ? lower : undefined;
}

function repairLink(home: string, cacheId: string): string {
  if (!pathExists(join(home, cacheId))) throw noSuchLayer(cacheId, undefined);
  const links = join(home, linkDirectory);
  const link = readdirSync(links).find(
    (name) => SHORT_NAME.test(name) && leadsTo(join(links, name)) === cacheId,
  );
  if (link === undefined) throw damaged(home, cacheId, "link");
  replace(join(home, cacheId, "link"), link);
  return link;
}

function repairLower(home: string, cacheId: string, link: string): string[] {
  const lower = lowerOnInit(home, cacheId) ?? lowerFromAbove(home, link);
  if (lower === undefined) throw damaged(home, cacheId, "lower");
  replace(join(home, cacheId, "lower"), lower.join(":"));
  return lower;
}

/** A container's layer lies on its init layer. */
function lowerOnInit(home: string, cacheId: string): string[] | undefined {
  const init = `${cacheId}${initSuffix}`;
  if (!pathExists(join(home, init))) return undefined;
  const below = [readLink(home, init), readLower(home, init)] as const;
  return below[0] === undefined || below[1] === undefined
    ? undefined
    : [`${linkDirectory}/${below[0]}`, ...below[1]];
}

function lowerFromAbove(home: string, link: string): string[] | undefined {
  for (const name of readdirSync(home)) {
    if (name === linkDirectory || name.startsWith(".")) continue;
    const lower = parseLower(readIfExists(join(home, name, "lower")) ?? "");
    const at = lower.indexOf(`${linkDirectory}/${link}`);
    const below = lower.slice(at + 1);
    if (at >= 0 && below.length > 0 && below.every((entry) => LOWER_ENTRY.test(entry))) return below;
  }
  return undefined;
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o644, flush: true });
  renameSync(`${path}.new`, path);
}

function damaged(home: string, cacheId: string, file: "link" | "lower"): BerthError {
  const path = join(home, cacheId, file);
  return new BerthError("internal", `layer ${cacheId} is damaged: ${path} cannot be read`, {
    operation: "read layer",
    object: path,
    hint: "remove the images or the container that stand on this layer, then pull or create them again; a container's own files are in diff beside it",
  });
}

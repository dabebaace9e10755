/**
 * The filters of `docker images`: dangling, label, before, since, until, reference.
 */

import { BerthError } from "#errors/errors.ts";
import { parseBoolean } from "#go-values/boolean.ts";
import { durationOf } from "#go-values/duration.ts";
import { type ImageName, nameText } from "./image-names.ts";
import type { ImageStore, StoredImage } from "./image-store.ts";
import { pathMatcher } from "./path-match.ts";
import { familiarRepository } from "./reference.ts";
import { resolveImage } from "./resolve-image.ts";

const known = ["dangling", "label", "label!", "before", "since", "until", "reference"];

/** What of an image is listed: nothing, or it with these of its names. */
export type ImageFilter = (image: StoredImage, names: ImageName[]) => ImageName[] | undefined;

/** Reads the filters; throws BerthError "invalid" for unknown ones and "not-found" for images they name. */
export function imageFilter(filters: Record<string, string[]>, images: ImageStore): ImageFilter {
  for (const name of Object.keys(filters)) {
    if (!known.includes(name)) throw invalid(`invalid filter '${name}'`);
  }
  const dangling = danglingFilter(filters.dangling ?? []);
  const labels = (filters.label ?? []).map(labelFilter);
  const otherLabels = (filters["label!"] ?? []).map(labelFilter);
  const before = smallest((filters.before ?? []).map((name) => createdAt(resolveImage(name, images))));
  const since = greatest((filters.since ?? []).map((name) => createdAt(resolveImage(name, images))));
  const until = smallest((filters.until ?? []).map(untilTime));
  const patterns = (filters.reference ?? []).map(pathMatcher);
  return (image, names) => {
    const created = createdAt(image);
    if (before !== undefined && created >= before) return undefined;
    if (since !== undefined && created <= since) return undefined;
    if (until !== undefined && created >= until) return undefined;
    const held = image.config.Labels ?? {};
    if (!labels.every((matches) => matches(held)) || otherLabels.some((matches) => matches(held)))
      return undefined;
    const matching =
      patterns.length === 0
        ? names
        : names.filter((name) => patterns.some((matches) => matchesName(matches, name)));
    if (patterns.length > 0 && matching.length === 0) return undefined;
    // One that has only digests is dangling, and is not: it is in both lists.
    if (dangling === true && matching.some(({ digest }) => digest === undefined)) return undefined;
    if (dangling === false && matching.length === 0) return undefined;
    return matching;
  };
}

/** Milliseconds since the epoch; images without a date are the oldest. */
export function createdAt(image: { created: string }): number {
  const time = Date.parse(image.created);
  return Number.isNaN(time) ? 0 : time;
}

/** Docker's rule: the pattern matches the name with its tag, or the repository alone; "*" does not cross a slash. */
export function matchesName(matches: (text: string) => boolean, name: ImageName): boolean {
  return matches(nameText(name)) || matches(familiarRepository(name.repository));
}

/** What `dangling` says; undefined if it is not asked for. Throws "invalid" for what is neither true nor false. */
export function danglingFilter(values: string[]): boolean | undefined {
  if (values.length === 0) return undefined;
  const all = values.map(parseBoolean);
  if (all[0] !== undefined && all.every((value) => value === all[0])) return all[0];
  throw invalid(`invalid filter 'dangling=[${values.join(" ")}]'`);
}

/** A test of an image's labels: "key" or "key=value". */
export function labelFilter(text: string): (labels: Record<string, string>) => boolean {
  const equals = text.indexOf("=");
  if (equals === -1) return (labels) => Object.hasOwn(labels, text);
  const key = text.slice(0, equals);
  const value = text.slice(equals + 1);
  return (labels) => Object.hasOwn(labels, key) && labels[key] === value;
}

/** Milliseconds since the epoch of a date, of seconds since the epoch, or of a duration back from now. */
export function untilTime(text: string): number {
  const ago = durationOf(text);
  if (ago !== undefined) return Date.now() - ago / 1e6;
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1000;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw invalid(`invalid filter 'until=[${text}]'`);
  return time;
}

function smallest(values: number[]): number | undefined {
  return values.length === 0 ? undefined : Math.min(...values);
}

function greatest(values: number[]): number | undefined {
  return values.length === 0 ? undefined : Math.max(...values);
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "list images" });
}

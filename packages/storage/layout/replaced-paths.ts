/**
 * Where content is now that a later entry of the same archive replaced: under `replaced/` of the layout.
 *
 * A file can be replaced itself, or with a directory above it, and what was kept is never moved again: the first
 * replacement after a file was written that covers its path is the one.
 */
import { replacedDirectory } from "#storage/layout/layout-format.ts";

export class ReplacedPaths {
  /** By path: replacements in order, each with the number of contents written before. */
  readonly #byPath = new Map<string, { place: number; contents: number }[]>();

  constructor(replaced: readonly [path: string, contents: number][]) {
    for (const [place, [path, contents]] of replaced.entries()) {
      const list = this.#byPath.get(path);
      if (list === undefined) this.#byPath.set(path, [{ place, contents }]);
      else list.push({ place, contents });
    }
  }

  /** Path below the layout of the content `index` that was written at `path`; undefined if it is still in the layer. */
  find(path: string, index: number): string | undefined {
    if (this.#byPath.size === 0) return undefined;
    let first: { place: number; rest: string } | undefined;
    for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
      const place = firstAfter(this.#byPath.get(path.slice(0, end)) ?? [], index);
      if (place !== undefined && (first === undefined || place < first.place)) {
        first = { place, rest: path.slice(end) };
      }
    }
    return first && `${replacedDirectory}/${first.place}${first.rest}`;
  }
}

/** The first of them that came when content `index` was written already. */
function firstAfter(list: readonly { place: number; contents: number }[], index: number): number | undefined {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.contents ?? 0) > index) high = middle;
    else low = middle + 1;
  }
  return list[low]?.place;
}

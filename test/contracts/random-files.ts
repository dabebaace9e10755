/**
 * Random operations on two trees that should be alike: each is done on both, and has to have the same outcome, error
 * included. The trees are compared whole now and then, and at the end.
 *
 * Few names are used, so that operations meet: a file is renamed over another, a directory is where a file was. What they
 * are follows from the seed alone.
 */
import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { getXattr, listXattr, removeXattr, setXattr } from "#kernel/xattr-syscalls.ts";

export interface RandomFiles {
  seed: number;
  operations: number;
  /** Directories that hold the same to begin with. */
  trees: readonly [tested: string, plain: string];
  /** overlayfs lets nobody move a directory of a layer below: where that is refused, the plain one is left alone, too. */
  refusesToMove: boolean;
}

/** Bytes that files grow to at most. */
const longest = 300_000;
const names = ["a", "b", "c", "d", "e", "f", "g", "long name with spaces", "ünï", ".hidden"];
const attributes = ["user.one", "user.two", "trusted.three"];

/** An operation that is decided. */
interface Operation {
  text: string;
  /** Does it in the tree and answers what it found. */
  perform: (tree: string) => unknown;
  /** A path where something is afterwards. */
  makes?: string;
}

/** Throws where the trees come to differ, with the last operations. */
export function compareRandomFiles({ seed, operations, trees, refusesToMove }: RandomFiles): void {
  const random = new Random(seed);
  const history: string[] = [];
  const [tested, plain] = trees;
  for (let count = 0; count < operations; count++) {
    const path = random.path();
    const operation = choose(random, path);
    history.push(operation.text);
    if (history.length > 30) history.shift();
    const outcome = outcomeOf(operation, tested);
    if (refusesToMove && outcome === "error EXDEV") continue;
    same(outcomeOf(operation, plain), outcome);
    if (operation.makes !== undefined && outcome === undefined) random.remember(operation.makes);
    if (outcome === "error ENOENT") random.forget(path);
    if (count % 2_000 === 1_999) same(describe(plain), describe(tested));
  }
  same(describe(plain), describe(tested));

  function same(expected: unknown, found: unknown): void {
    assert.deepEqual(found, expected, `seed ${seed}, after:\n${history.join("\n")}`);
  }
}

function outcomeOf({ perform }: Operation, tree: string): unknown {
  try {
    return perform(tree);
  } catch (error) {
    if (error instanceof Error && "code" in error) return `error ${error.code}`;
    throw error;
  }
}

function choose(random: Random, path: string): Operation {
  const other = random.path();
  const make = (text: string, perform: Operation["perform"], makes?: string): Operation =>
    makes === undefined ? { text, perform } : { text, perform, makes };
  const kinds: [weight: number, () => Operation][] = [
    [12, () => make(`create ${path}`, (tree) => closeSync(openSync(join(tree, path), "wx", 0o644)), path)],
    [20, () => random.write(path)],
    [5, () => random.append(path)],
    [14, () => random.read(path)],
    [8, () => random.truncate(path)],
    [
      12,
      () => make(`rename ${path} ${other}`, (tree) => renameSync(join(tree, path), join(tree, other)), other),
    ],
    [7, () => make(`link ${path} ${other}`, (tree) => linkSync(join(tree, path), join(tree, other)), other)],
    [8, () => make(`unlink ${path}`, (tree) => unlinkSync(join(tree, path)))],
    [14, () => make(`mkdir ${path}`, (tree) => mkdirSync(join(tree, path)), path)],
    [4, () => make(`rmdir ${path}`, (tree) => rmdirSync(join(tree, path)))],
    [1, () => make(`rm -r ${path}`, (tree) => rmSync(join(tree, path), { recursive: true }))],
    [4, () => random.symlink(path)],
    [2, () => make(`readlink ${path}`, (tree) => readlinkSync(join(tree, path)))],
    [4, () => make(`readdir ${path}`, (tree) => readdirSync(join(tree, path)).sort())],
    [4, () => make(`stat ${path}`, (tree) => looks(statSync(join(tree, path))))],
    [4, () => random.chmod(path)],
    [3, () => random.chown(path)],
    [2, () => random.utimes(path)],
    [6, () => random.xattr(path)],
  ];
  let at = random.below(kinds.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, kind] of kinds) {
    if (at < weight) return kind();
    at -= weight;
  }
  throw new Error("unreachable");
}

class Random {
  #state: number;
  /** Paths made lately. */
  readonly #known: string[] = [];

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number below `limit`; a linear congruential step, mixed. */
  below(limit: number): number {
    if (limit === 0) return 0;
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b) >>> 0;
    mixed ^= mixed >>> 15;
    return (mixed >>> 0) % limit;
  }

  /** Often one that is, or was, there, or in it. */
  path(): string {
    const known = this.#known[this.below(Math.ceil(this.#known.length * 1.3))];
    if (known === undefined) return this.#anyPath();
    return this.below(3) === 0 ? `${known}/${names[this.below(names.length)]}` : known;
  }

  remember(path: string): void {
    if (this.#known.includes(path)) return;
    this.#known.push(path);
    if (this.#known.length > 300) this.#known.shift();
  }

  forget(path: string): void {
    const at = this.#known.indexOf(path);
    if (at >= 0) this.#known.splice(at, 1);
  }

  #anyPath(): string {
    const depth = [1, 1, 2, 2, 2, 3, 3, 4][this.below(8)] ?? 1;
    return Array.from({ length: depth }, () => names[this.below(names.length)] as string).join("/");
  }

  write(path: string): Operation {
    const at = this.below(longest);
    const data = this.#data(this.below(4) === 0 ? this.below(65_536) : this.below(600));
    return {
      text: `write ${path} ${data.length} bytes at ${at}`,
      perform: (tree) => inFile(join(tree, path), "r+", (fd) => writeSync(fd, data, 0, data.length, at)),
    };
  }

  append(path: string): Operation {
    const data = this.#data(this.below(5_000));
    return {
      text: `append ${path} ${data.length} bytes`,
      makes: path,
      perform: (tree) => {
        // Not without end.
        if ((statSync(join(tree, path), { throwIfNoEntry: false })?.size ?? 0) < longest)
          appendFileSync(join(tree, path), data, { mode: 0o640 });
      },
    };
  }

  read(path: string): Operation {
    const at = this.below(longest);
    const out = Buffer.alloc(this.below(20_000));
    return {
      text: `read ${path} ${out.length} bytes at ${at}`,
      perform: (tree) =>
        inFile(join(tree, path), "r", (fd) => {
          const length = readSync(fd, out, 0, out.length, at);
          return out.subarray(0, length).toString("latin1");
        }),
    };
  }

  truncate(path: string): Operation {
    const size = this.below(3) === 0 ? 0 : this.below(longest);
    return {
      text: `truncate ${path} to ${size}`,
      perform: (tree) => inFile(join(tree, path), "r+", (fd) => ftruncateSync(fd, size)),
    };
  }

  symlink(path: string): Operation {
    // Of the same directory: none leads out of the tree.
    const target = names[this.below(names.length)] as string;
    return {
      text: `symlink ${target} ${path}`,
      perform: (tree) => symlinkSync(target, join(tree, path)),
      makes: path,
    };
  }

  chmod(path: string): Operation {
    const mode = this.below(0o10000);
    return {
      text: `chmod ${mode.toString(8)} ${path}`,
      perform: (tree) => chmodSync(join(tree, path), mode),
    };
  }

  chown(path: string): Operation {
    const [uid, gid] = [this.below(3) * 1000, this.below(70_000)];
    return { text: `chown ${uid}:${gid} ${path}`, perform: (tree) => chownSync(join(tree, path), uid, gid) };
  }

  utimes(path: string): Operation {
    const time = 1_000_000_000 + this.below(1_000_000);
    return {
      text: `utimes ${time} ${path}`,
      perform: (tree) => {
        utimesSync(join(tree, path), time, time);
        return statSync(join(tree, path)).mtimeMs;
      },
    };
  }

  xattr(path: string): Operation {
    const name = attributes[this.below(attributes.length)] as string;
    const value = this.#data(1 + this.below(60));
    switch (this.below(3)) {
      case 0:
        return {
          text: `removexattr ${name} ${path}`,
          perform: (tree) => removeXattr(join(tree, path), name),
        };
      case 1:
        return {
          text: `getxattr ${name} ${path}`,
          perform: (tree) => getXattr(join(tree, path), name)?.toString("hex"),
        };
      default:
        return {
          text: `setxattr ${name} ${path}`,
          perform: (tree) => setXattr(join(tree, path), name, value),
        };
    }
  }

  #data(length: number): Buffer {
    const data = Buffer.alloc(length);
    const seed = this.below(256);
    for (let at = 0; at < length; at++) data[at] = (seed + at * 7 + (at >> 8)) & 0xff;
    return data;
  }
}

function inFile(path: string, flags: string, perform: (fd: number) => unknown): unknown {
  const fd = openSync(path, flags);
  try {
    return perform(fd);
  } finally {
    closeSync(fd);
  }
}

/** What must be alike of one entry; sizes of directories, and how many they hold, are each file system's own. */
function looks(status: ReturnType<typeof lstatSync> & {}): string {
  const { mode, uid, gid, size, nlink } = status;
  const own = status.isDirectory() ? "" : ` ${size} ${nlink}`;
  return `${mode.toString(8)} ${uid}:${gid}${own}`;
}

/** Everything about a tree, a line for each entry. */
function describe(tree: string, directory = ""): string[] {
  const lines: string[] = [];
  for (const name of readdirSync(join(tree, directory)).sort()) {
    const path = join(directory, name);
    const whole = join(tree, path);
    const status = lstatSync(whole);
    const kept = listXattr(whole)
      .filter((key) => attributes.includes(key))
      .sort()
      .map((key) => `${key}=${getXattr(whole, key)?.toString("hex")}`);
    const content = status.isSymbolicLink() ? readlinkSync(whole) : "";
    lines.push(`${path} ${looks(status)} ${kept.join(" ")} ${content}`);
    if (status.isDirectory()) lines.push(...describe(tree, path));
    if (status.isFile()) lines.push(readFileSync(whole, "base64"));
  }
  return lines;
}

const [tested, plain, seed, operations, refusesToMove] = process.argv.slice(2);
if (import.meta.main && tested !== undefined && plain !== undefined) {
  compareRandomFiles({
    trees: [tested, plain],
    seed: Number(seed),
    operations: Number(operations),
    refusesToMove: refusesToMove === "true",
  });
}

/**
 * Small images of several layers, made of a seed, whose every byte is known: what a layer directory must hold is told by
 * its diff id. And the random numbers that such tests decide by.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type BuiltImage,
  buildImage,
  buildTar,
  dockerArchive,
  type NewEntry,
} from "#images/archive-build.ts";
import { digestOf } from "#images/digest.ts";
import { builtBusybox } from "#test/fixtures/busybox-image.ts";

/** Numbers in [0, 1) that a seed decides (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface KnownImage {
  /** "app3:1" */
  name: string;
  image: BuiltImage;
  /** For docker load. */
  archive: Buffer;
}

export class KnownImages {
  readonly images: KnownImage[] = [];
  /** The name of one that stands on busybox, so that it can run. */
  readonly runnable = "runs:1";
  /** For docker import. */
  readonly root: Buffer;
  readonly #contents = new Map<string, string>();

  private constructor(root: Buffer) {
    this.root = root;
  }

  /** Five images that share layers in twos and threes, and one that runs. */
  static async make(random: () => number): Promise<KnownImages> {
    const layer = (name: string) => buildTar(entries(name, random));
    const base = layer("base");
    const middle = layer("middle");
    const known = new KnownImages(layer("root"));
    const busybox = await builtBusybox();
    const document = (name: string) => ({
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      os: "linux",
      created: "2026-01-01T00:00:00Z",
      config: { Cmd: ["echo", name], Labels: { name } },
    });
    known.#add("one:1", [base, layer("one")], document("one"));
    known.#add("two:1", [base, middle, layer("two")], document("two"));
    known.#add("three:1", [base, middle, layer("three"), layer("three again")], document("three"));
    known.#add("four:1", [layer("four"), layer("fourth"), layer("last of four")], document("four"));
    known.#add("five:1", [layer("five")], document("five"));
    known.#add(known.runnable, [...busybox.layers, layer("runs")], {
      ...document("runs"),
      config: { Cmd: ["cat", "/runs/large"], Env: ["PATH=/bin"] },
    });
    known.#remember(known.root);
    return known;
  }

  /** The fingerprint of the directory that a layer becomes; undefined for one not made here. */
  contentOf(diffId: string): string | undefined {
    return this.#contents.get(diffId);
  }

  #add(name: string, layers: Buffer[], document: Record<string, unknown>): void {
    const image = buildImage(layers, document);
    for (const layer of layers) this.#remember(layer);
    this.images.push({ name, image, archive: dockerArchive([{ image, tags: [name] }]) });
  }

  /** By GNU tar, not by what is tested. */
  #remember(layer: Buffer): void {
    const diffId = digestOf(layer);
    if (this.#contents.has(diffId)) return;
    const directory = mkdtempSync(join(tmpdir(), "berth-known-"));
    try {
      execFileSync("tar", ["-C", directory, "--numeric-owner", "-xpf", "-"], { input: layer });
      this.#contents.set(diffId, fingerprint(directory));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

function entries(name: string, random: () => number): NewEntry[] {
  const directory = name.replaceAll(" ", "-");
  const bytes = (length: number) => Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
  const files = Array.from(
    { length: 12 },
    (_, index): NewEntry => ({
      type: "file",
      name: `${directory}/${index}`,
      mode: index % 2 === 0 ? 0o644 : 0o4755,
      uid: index,
      content: bytes(3000),
    }),
  );
  return [
    { type: "directory", name: directory, mode: 0o750 },
    ...files,
    { type: "file", name: `${directory}/large`, content: bytes(300_000).toString("base64") },
    { type: "symlink", name: `${directory}/link`, linkName: "large" },
    { type: "hardlink", name: `${directory}/again`, linkName: `${directory}/large` },
  ];
}

/** All names below a directory with kind, mode, owner and content, in one digest. Hard links are told by what they name. */
export function fingerprint(directory: string): string {
  const hash = createHash("sha256");
  const firstNames = new Map<number, string>();
  const visit = (path: string, name: string) => {
    const status = lstatSync(path);
    // The top directory looks like the one below it, whatever the archive says.
    if (name !== "") hash.update(`${name}\0${status.mode}\0${status.uid}\0${status.gid}\0`);
    if (status.isSymbolicLink()) hash.update(readlinkSync(path));
    else if (status.isFile() && firstNames.has(status.ino)) hash.update(firstNames.get(status.ino) ?? "");
    else if (status.isFile()) {
      firstNames.set(status.ino, name);
      hash.update(readFileSync(path));
    } else if (status.isDirectory())
      for (const child of readdirSync(path).sort()) visit(join(path, child), `${name}/${child}`);
  };
  visit(directory, "");
  return hash.digest("hex");
}

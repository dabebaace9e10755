/**
 * Images to measure with, the same bytes whenever the same busybox is in them: layers of many files as a Debian with a Node application has
 * them, half of their bytes compressible, with directories, links and whiteouts between.
 *
 * Owns a directory under the system's temporary one where they are kept from run to run: never in the repository.
 */
import { createCipheriv, createHash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { encodeEntry, endOfArchive, paddingFor } from "#storage/tar/tar-writer.ts";
import type { TestRegistry } from "#test/fixtures/registry.ts";

/** Part of the directory's name; another number makes the images anew. */
const format = 1;
/** Share of a file's bytes that no compressor can shorten: with it gzip leaves 0.48 of the whole. */
const randomShare = 0.23;
const busybox = ["/bin/busybox", "/usr/bin/busybox"];

/** What a layer holds besides its directories. */
interface LayerPlan {
  root: string;
  files: number;
  /** Sum of the files' sizes. */
  bytes: number;
  /** Names below `root` of the layer with this index that this one hides. */
  hides?: { layer: number; files: number };
}

export interface ImagePlan {
  name: string;
  layers: LayerPlan[];
}

const application: LayerPlan[] = [
  { root: "usr/share", files: 7_000, bytes: 110e6 },
  { root: "usr/lib/gcc", files: 14_000, bytes: 250e6 },
  { root: "usr/lib/python3/dist-packages", files: 8_000, bytes: 120e6 },
  { root: "opt/runtime", files: 3_000, bytes: 90e6 },
  { root: "app/node_modules", files: 24_000, bytes: 140e6 },
  { root: "app/dist", files: 2_500, bytes: 25e6 },
  { root: "srv/assets", files: 1_400, bytes: 14e6, hides: { layer: 0, files: 40 } },
  { root: "etc/app", files: 100, bytes: 1e6 },
];

/** 8 layers, 60,000 files, 0.75 GB. */
export const LARGE: ImagePlan = { name: "large", layers: application };

/** The same in 0.1 GB. */
export const SMALL: ImagePlan = {
  name: "small",
  layers: application.map((layer) => ({
    ...layer,
    files: Math.ceil(layer.files / 7.5),
    bytes: layer.bytes / 7.5,
  })),
};

/** 100 layers of next to nothing. */
export const HUNDRED: ImagePlan = {
  name: "hundred",
  layers: Array.from({ length: 100 }, (_, index) => ({ root: `layers/${index}`, files: 5, bytes: 20_000 })),
};

export interface KeptImage {
  plan: ImagePlan;
  config: Buffer;
  layers: { path: string; digest: string; diffId: string; size: number; unpacked: number }[];
}

/** The image, made at the first call on this machine. */
export async function layeredImage(plan: ImagePlan): Promise<KeptImage> {
  const directory = join(tmpdir(), `berth-bench-images-${format}`, plan.name);
  const description = join(directory, "image.json");
  if (!existsSync(description)) {
    console.error(`bench: making the image ${plan.name} …`);
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
    const layers: KeptImage["layers"] = [];
    for (const index of plan.layers.keys()) layers.push(await makeLayer(plan, index, directory));
    writeFileSync(`${description}.new`, JSON.stringify(layers));
    renameSync(`${description}.new`, description);
  }
  const layers = JSON.parse(readFileSync(description, "utf8")) as KeptImage["layers"];
  return { plan, config: configOf(layers), layers };
}

/** Puts the image into a registry under `repository:latest`, by the registry's own protocol. */
export async function publish(image: KeptImage, registry: TestRegistry, repository: string): Promise<void> {
  const types = "application/vnd.docker";
  const layers = [];
  for (const { path } of image.layers) {
    layers.push(
      await registry.putBlob(repository, readFileSync(path), `${types}.image.rootfs.diff.tar.gzip`),
    );
  }
  const config = await registry.putBlob(repository, image.config, `${types}.container.image.v1+json`);
  const mediaType = `${types}.distribution.manifest.v2+json`;
  await registry.putManifest(repository, "latest", mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers,
  });
}

function configOf(layers: KeptImage["layers"]): Buffer {
  return Buffer.from(
    JSON.stringify({
      architecture: process.arch === "arm64" ? "arm64" : "amd64",
      config: { Cmd: ["sh"], Env: ["PATH=/bin"] },
      created: "2026-01-01T00:00:00Z",
      history: layers.map((_, index) => ({ created: "2026-01-01T00:00:00Z", created_by: `layer ${index}` })),
      os: "linux",
      rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
    }),
  );
}

async function makeLayer(
  plan: ImagePlan,
  index: number,
  directory: string,
): Promise<KeptImage["layers"][number]> {
  const path = join(directory, `${index}.tar.gz`);
  const plain = createHash("sha256");
  let unpacked = 0;
  async function* counted(): AsyncGenerator<Buffer> {
    for (const piece of layerArchive(plan, index)) {
      plain.update(piece);
      unpacked += piece.length;
      yield piece;
    }
  }
  await pipeline(counted, createGzip({ level: 6 }), createWriteStream(path));
  const packed = createHash("sha256");
  let size = 0;
  for await (const piece of createReadStream(path)) {
    packed.update(piece as Buffer);
    size += (piece as Buffer).length;
  }
  const digest = `sha256:${packed.digest("hex")}`;
  return { path, digest, diffId: `sha256:${plain.digest("hex")}`, size, unpacked };
}

function* layerArchive(plan: ImagePlan, index: number): Generator<Buffer> {
  const layer = plan.layers[index] as LayerPlan;
  const source = new Source(`${plan.name} ${index}`);
  const made = new Set<string>();
  if (index === 0) yield* shell(made);
  const sizes = fileSizes(layer, source);
  for (const [number, size] of sizes.entries()) {
    const path = fileName(layer, number);
    yield* parents(path, made);
    const owner = number % 50 === 0 ? 1000 : 0;
    yield encodeEntry(entry("file", path, { size, uid: owner, gid: owner }));
    yield* source.content(size);
    yield paddingFor(size);
    if (number % 40 === 0) yield encodeEntry(entry("symlink", `${path}.link`, { linkName: "../elsewhere" }));
    if (number % 200 === 0) yield encodeEntry(entry("hardlink", `${path}.again`, { linkName: path }));
  }
  const { hides } = layer;
  for (let number = 0; number < (hides?.files ?? 0); number++) {
    const hidden = fileName(plan.layers[hides?.layer ?? 0] as LayerPlan, number);
    yield* parents(hidden, made);
    yield encodeEntry(entry("file", hidden.replace(/[^/]+$/, ".wh.$&")));
  }
  yield endOfArchive;
}

/** A dozen files to a directory, a dozen directories to the next. */
function fileName({ root }: LayerPlan, number: number): string {
  const inner = Math.floor(number / 12);
  return `${root}/package-${Math.floor(inner / 12)}/part-${inner % 12}/file-${number}.js`;
}

function* parents(path: string, made: Set<string>): Generator<Buffer> {
  for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
    const directory = path.slice(0, at);
    if (made.has(directory)) continue;
    made.add(directory);
    yield encodeEntry(entry("directory", directory, { mode: 0o755 }));
  }
}

/** So that the image can be run. */
function* shell(made: Set<string>): Generator<Buffer> {
  const found = busybox.find((path) => existsSync(path));
  if (found === undefined) throw new Error("bench needs busybox: apt-get install busybox-static");
  const program = readFileSync(found);
  yield* parents("bin/busybox", made);
  yield encodeEntry(entry("file", "bin/busybox", { size: program.length, mode: 0o755 }));
  yield program;
  yield paddingFor(program.length);
  for (const applet of ["sh", "true", "cat"]) {
    yield encodeEntry(entry("symlink", `bin/${applet}`, { linkName: "busybox" }));
  }
}

function entry(type: TarEntry["type"], name: string, more: Partial<TarEntry> = {}): TarEntry {
  return {
    type,
    name,
    linkName: "",
    mode: 0o644,
    uid: 0,
    gid: 0,
    userName: "",
    groupName: "",
    size: 0,
    modifiedAt: 1_767_225_600_000_000_000n,
    major: 0,
    minor: 0,
    xattrs: new Map(),
    ...more,
  };
}

/** Many small and few large, as file systems have them: log-normal, scaled to the layer's sum. */
function fileSizes({ files, bytes }: LayerPlan, source: Source): number[] {
  const weights = Array.from({ length: files }, () => Math.exp(1.6 * source.normal()));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => Math.round((weight / sum) * bytes));
}

/** Numbers and bytes that follow from a seed. */
class Source {
  readonly #cipher;
  #words = Buffer.alloc(0);
  #at = 0;

  constructor(seed: string) {
    this.#cipher = createCipheriv(
      "aes-256-ctr",
      createHash("sha256").update(seed).digest(),
      Buffer.alloc(16),
    );
  }

  /** Bytes of a file: first what can't be compressed, then text. */
  *content(size: number): Generator<Buffer> {
    const random = Math.floor(size * randomShare);
    for (let left = random; left > 0; left -= 1 << 20) {
      yield this.#cipher.update(Buffer.alloc(Math.min(left, 1 << 20)));
    }
    text ??= new Source("text").prose(4 << 20);
    for (let left = size - random; left > 0; ) {
      const piece = text.subarray(this.#below(text.length));
      yield Buffer.from(piece.subarray(0, left));
      left -= Math.min(left, piece.length);
    }
  }

  /** Of mean 0 and variance 1, by Box and Muller's transform. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.#uniform())) * Math.cos(2 * Math.PI * this.#uniform());
  }

  /** Lines of made-up words, which repeat as those of programs do. */
  prose(length: number): Buffer {
    const letters = "etaoinshrdlucmfwypvbgkjqxz_(){};=.";
    const list = <T>(count: number, make: () => T) => Array.from({ length: count }, make);
    const one = <T>(of: ArrayLike<T>) => of[Math.floor(this.#uniform() ** 2 * of.length)] as T;
    const words = list(1500, () => list(2 + this.#below(8), () => one(letters)).join(""));
    const phrases = list(1500, () => list(3 + this.#below(6), () => one(words)).join(" "));
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; ) at += bytes.write(`  ${one(phrases)} ${one(words)}\n`, at);
    return bytes;
  }

  #below(limit: number): number {
    return Math.floor(this.#uniform() * limit);
  }

  #uniform(): number {
    if (this.#at === this.#words.length) {
      this.#words = this.#cipher.update(Buffer.alloc(4 << 10));
      this.#at = 0;
    }
    this.#at += 4;
    return this.#words.readUInt32LE(this.#at - 4) / 2 ** 32;
  }
}

/** What the compressible part of every file is cut from; made when it is first needed. */
let text: Buffer | undefined;

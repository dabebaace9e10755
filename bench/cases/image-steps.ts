/**
 * What is done with an image, step by step on the same one: pull, commit, push, save, remove, load. And the same done by curl, tar
 * and sha256sum alone, below a directory.
 */
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { TestRegistry } from "#test/fixtures/registry.ts";
import { cli } from "../clients/command-line.ts";
import type { KeptImage } from "../layered-image.ts";
import type { Peer } from "../peers/peer-types.ts";

const run = promisify(execFile);

/** One step of one round; the steps follow each other. */
export interface Step {
  name: string;
  /** The share of dockerd's figure that Berth may need of the large image's. */
  budget?: number;
  why?: string;
  /** Answers what is to be measured, after it made ready for it. */
  prepare(at: Round): Promise<() => Promise<unknown>>;
  after?(at: Round): Promise<void>;
  floor?(at: FloorRound): Promise<unknown>;
}

export interface Round {
  peer: Peer;
  /** The image's name in the registry. */
  image: string;
  /** A docker-archive of it that every engine can load. */
  archive: string;
  directory: string;
}

export interface FloorRound {
  kept: KeptImage;
  /** "http://localhost:…/v2/…/blobs". */
  blobs: string;
  archive: string;
  directory: string;
}

/** The registry has no certificate. */
const open = ({ name }: Peer) => (name === "podman" ? ["--tls-verify=false"] : []);

export const STEPS: readonly Step[] = [
  {
    name: "pull with unpack",
    budget: 1 / 2,
    prepare: async ({ peer, image }) => {
      return () => cli(peer, "pull", "-q", ...open(peer), image);
    },
    floor: ({ kept, blobs, directory }) => {
      const digests = kept.layers.map(({ digest }) => digest).join("\n");
      const one = 'mkdir "$1/$2" && curl -sf "$3/$2" | tee >(sha256sum >"$1/$2.sum") | tar -xz -C "$1/$2"';
      const all = `xargs -P ${availableParallelism()} -I{} bash -o pipefail -c '${one}' - "$1" {} "$2"`;
      const root = join(directory, "floor");
      mkdirSync(root);
      return run("bash", ["-c", `printf '%s\\n' "$0" | ${all}`, digests, root, blobs]);
    },
  },
  {
    name: "commit of a changed file",
    budget: 1,
    prepare: async ({ peer, image }) => {
      await cli(peer, "run", "--name", "changed", "--network", "none", image, "sh", "-c", "echo x > /new");
      return () => cli(peer, "commit", "changed", "changed:1");
    },
    after: async ({ peer }) => {
      await cli(peer, "rm", "-f", "changed");
      await cli(peer, "rmi", "-f", "changed:1").catch(() => {}); // it was not committed
    },
    floor: async ({ directory }) => {
      const upper = join(directory, "upper");
      mkdirSync(upper, { recursive: true });
      writeFileSync(join(upper, "new"), "x\n");
      await run("bash", ["-c", 'tar -c -C "$0" . | tee "$0.tar" | sha256sum', upper]);
    },
  },
  {
    name: "push",
    budget: 1 / 2,
    prepare: async (at) => {
      const { peer, image } = at;
      const registry = await TestRegistry.start();
      const target = `${registry.host}/pushed-${Math.random().toString(36).slice(2)}:1`;
      await cli(peer, "tag", image, target);
      pushed.set(peer, { registry, target });
      return () => cli(peer, "push", "-q", ...open(peer), target);
    },
    after: async ({ peer }) => {
      const { registry, target } = pushed.get(peer) ?? {};
      if (target !== undefined) await cli(peer, "rmi", target);
      await registry?.stop();
      pushed.delete(peer);
    },
  },
  {
    name: "save",
    budget: 1 / 3,
    prepare: async ({ peer, image, directory }) => {
      return () => cli(peer, "save", "-o", join(directory, `${peer.name}.tar`), image);
    },
    after: async ({ peer, directory }) => rmSync(join(directory, `${peer.name}.tar`), { force: true }),
    floor: async ({ directory }) => {
      await run("tar", ["-cf", join(directory, "floor.tar"), "-C", join(directory, "floor"), "."]);
      rmSync(join(directory, "floor.tar"));
    },
  },
  {
    name: "rmi",
    prepare: async ({ peer, image }) => {
      return () => cli(peer, "rmi", image);
    },
    floor: ({ directory }) => run("rm", ["-rf", join(directory, "floor")]),
  },
  {
    name: "load",
    budget: 1 / 2,
    prepare: async ({ peer, archive }) => {
      return () => cli(peer, "load", "-q", "-i", archive);
    },
    after: async ({ peer, image }) => {
      await cli(peer, "rmi", image);
    },
    floor: ({ archive, directory }) => {
      const one =
        'd=$(mktemp -d -p "$BENCH_ROOM"); tee -p >(tar -x -C "$d" 2>/dev/null) | sha256sum >"$d.sum"';
      const room = join(directory, "floor-load");
      mkdirSync(room, { recursive: true });
      // What is no layer is no archive: it is hashed, and nothing comes of it.
      const options = ["--to-command", `bash -c '${one}'`, "-xf", archive];
      return run("tar", options, { env: { ...process.env, BENCH_ROOM: room } });
    },
  },
];

const pushed = new Map<Peer, { registry: TestRegistry; target: string }>();

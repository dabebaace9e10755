/**
 * Bundles the programs into dist/: one file per app, one per worker, so that a start reads one file and not two
 * hundred. Files are written whole beside their place and renamed: a daemon that runs keeps what it has loaded.
 *
 * A worker is any file under packages/ named x-worker.ts; sources start it by
 * `new URL("./x-worker.ts", import.meta.url)`, which becomes `./x-worker.mjs` here. Never bundle native packages: they stay in node_modules.
 */
import { globSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { build, type Plugin } from "esbuild";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const staging = join(root, "build", `dist.${process.pid}`);

const workerUrls: Plugin = {
  name: "worker-urls",
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8");
      if (!source.includes("-worker.ts")) return undefined;
      const contents = source.replace(
        /new URL\(\s*"[^"]*?([\w-]+-worker)\.ts",\s*import\.meta\.url,?\s*\)/g,
        'new URL("./$1.mjs", import.meta.url)',
      );
      return { contents, loader: "ts" };
    });
  },
};

const entries: Record<string, string> = {};
for (const main of globSync("apps/*/main.ts", { cwd: root })) {
  entries[basename(join(main, ".."))] = join(root, main);
}
for (const worker of globSync("packages/**/*-worker.ts", { cwd: root })) {
  const name = basename(worker, ".ts");
  if (entries[name] !== undefined) throw new Error(`two workers are called ${name}`);
  entries[name] = join(root, worker);
}

const result = await build({
  entryPoints: entries,
  outdir: staging,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  keepNames: true,
  external: ["koffi"],
  // What CommonJS dependencies find missing inside an ES module.
  banner: {
    js: 'import { createRequire as $require } from "node:module"; const require = $require(import.meta.url);',
  },
  plugins: [workerUrls],
  logLevel: "warning",
});
if (result.errors.length > 0) process.exit(1);

mkdirSync(dist, { recursive: true });
const built = Object.keys(entries).length === 0 ? [] : readdirSync(staging);
for (const file of built) renameSync(join(staging, file), join(dist, file));
for (const file of readdirSync(dist))
  if (!built.includes(file)) rmSync(join(dist, file), { recursive: true });
rmSync(staging, { recursive: true, force: true });

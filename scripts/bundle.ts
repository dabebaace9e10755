/**
 * Bundles the programs into dist/: one file per app, one per worker, so that a start reads one file and not two
 * hundred. Files are written whole beside their place and renamed: a daemon that runs keeps what it has loaded.
 *
 * A worker is any file under packages/ named x-worker.ts; sources start it by
 * `new URL("./x-worker.ts", import.meta.url)`, which becomes `./x-worker.mjs` here. Never bundle native packages: they stay in node_modules.
 */
import { globSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

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

const httpWithoutTheRest: Plugin = {
  // Importing node:http as an ES module reads every export of it, WebSocket among them, which loads a whole second
  // HTTP client: 30 ms and some megabytes for nothing.
  name: "http-without-the-rest",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:http$/ }, () => ({ path: "node:http", namespace: "http" }));
    onLoad({ filter: /.*/, namespace: "http" }, () => {
      const names =
        "Agent ClientRequest IncomingMessage METHODS OutgoingMessage STATUS_CODES Server ServerResponse";
      const exported = `${names} createServer get globalAgent request`.split(" ").join(", ");
      const contents = `const http = process.getBuiltinModule("node:http");
        export default http;
        export const { ${exported} } = http;`;
      return { contents, loader: "js" };
    });
  },
};

const programs: Record<string, string> = {};
const workers: Record<string, string> = {};
for (const main of globSync("apps/*/main.ts", { cwd: root })) {
  programs[basename(join(main, ".."))] = join(root, main);
}
for (const worker of globSync("packages/**/*-worker.ts", { cwd: root })) {
  const name = basename(worker, ".ts");
  if (workers[name] !== undefined) throw new Error(`two workers are called ${name}`);
  workers[name] = join(root, worker);
}

const common: BuildOptions = {
  outdir: staging,
  bundle: true,
  platform: "node",
  target: "node24",
  minifyWhitespace: true,
  external: ["koffi"],
  logLevel: "warning",
};

/**
 * A program: CommonJS, behind a few lines that let Node keep what V8 has compiled. Together they take a third off what a
 * short command needs to start; loading the same as an ES module costs more than running it.
 */
async function bundleProgram(name: string, source: string): Promise<string[]> {
  const main = `${name}.main`;
  await build({
    ...common,
    entryPoints: { [main]: source },
    outExtension: { ".js": ".cjs" },
    format: "cjs",
    define: { "import.meta.dirname": "__dirname", "import.meta.url": "$url" },
    banner: { js: 'const $url = require("node:url").pathToFileURL(__filename).href;' },
    plugins: [workerUrls, httpWithoutTheRest],
  });
  const cache = 'require("node:path").join(__dirname, "../build/compiled")';
  const lines = [`require("node:module").enableCompileCache(${cache});`, `require("./${main}.cjs");`, ""];
  writeFileSync(join(staging, `${name}.cjs`), lines.join("\n"));
  return [`${main}.cjs`, `${name}.cjs`];
}

async function bundleWorker(name: string, source: string): Promise<string[]> {
  await build({
    ...common,
    entryPoints: { [name]: source },
    outExtension: { ".js": ".mjs" },
    format: "esm",
    // What CommonJS dependencies find missing inside an ES module.
    banner: {
      js: 'import { createRequire as $require } from "node:module"; const require = $require(import.meta.url);',
    },
    plugins: [workerUrls, httpWithoutTheRest],
  });
  return [`${name}.mjs`];
}

mkdirSync(dist, { recursive: true });
mkdirSync(staging, { recursive: true });
const results = await Promise.allSettled([
  ...Object.entries(programs).map(([name, source]) => bundleProgram(name, source)),
  ...Object.entries(workers).map(([name, source]) => bundleWorker(name, source)),
]);
const built = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
for (const file of built) renameSync(join(staging, file), join(dist, file));
// What failed has said so itself. What is no longer built goes, but not while something is broken.
if (built.length < results.length) process.exitCode = 1;
else
  for (const file of readdirSync(dist))
    if (!built.includes(file)) rmSync(join(dist, file), { recursive: true });
rmSync(staging, { recursive: true, force: true });

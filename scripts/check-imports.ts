/**
 * Checks that packages import in one direction only, and that no two of them import one another.
 *
 * The table below is the architecture: a package may import what stands beside it, and itself. Contracts
 * (`*-types.ts`) may be imported as types from any package: they are what the parts agree on, and cost nothing at
 * run time; the same holds for `#api-types` and `#errors`. Tests may import anything.
 */
import { globSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const foundation = ["errors", "api-types", "go-values"];
const kernelSide = ["state", "kernel", "program", ...foundation];
const services = ["runtime", "storage", "images", "networks", "volumes", "logs", "config"];

const allowed: Record<string, string[]> = {
  errors: [],
  "api-types": [],
  "go-values": [],
  "go-template": [],
  program: foundation,
  kernel: ["program", ...foundation],
  state: ["kernel", ...foundation],
  config: foundation,
  plugins: foundation,
  runtime: kernelSide,
  storage: kernelSide,
  logs: [...kernelSide, "go-template"],
  networks: [...kernelSide, "runtime", "plugins"],
  volumes: [...kernelSide, "storage", "plugins"],
  images: [...kernelSide, "storage"],
  engine: [...services, ...kernelSide],
  // Of kernel: how connections are taken in.
  api: ["engine", "config", "kernel", ...foundation],
  oci: ["runtime", ...kernelSide],
  client: foundation,
  // Of storage and kernel: archives that are packed and unpacked on this side.
  cli: ["client", "go-template", "storage", "kernel", ...foundation],
};
const root = join(import.meta.dirname, "..");
const problems: string[] = [];
const edges = new Map<string, Set<string>>();

/** The package a file belongs to: "kernel" for packages/kernel/…, "apps" and so on for the rest. */
function packageOf(file: string): string {
  const [top, name] = relative(root, file).split("/");
  return top === "packages" ? (name ?? "") : (top ?? "");
}

for (const path of globSync("{packages,apps}/**/*.ts", { cwd: root })) {
  if (path.endsWith(".test.ts") || path.includes("/testing/")) continue;
  const file = join(root, path);
  const from = packageOf(file);
  // Comments and strings that look like imports do not occur at the beginning of a line in formatted code.
  const statements = readFileSync(file, "utf8").matchAll(
    /^(?:import|export)\s+(type\s)?[^;"]*?"([#.][^"]+)"|\bimport\("([#.][^"]+)"\)/gm,
  );
  for (const [, type, static_, dynamic] of statements) {
    const specifier = static_ ?? dynamic ?? "";
    const target = specifier.startsWith("#")
      ? join(root, "packages", specifier.slice(1))
      : resolve(file, "..", specifier);
    const to = packageOf(target);
    if (to === from || from === "apps") continue;
    if (type !== undefined && /[-.]types\.ts$/.test(target)) continue;
    if (allowed[from] === undefined)
      problems.push(`${path}: package ${from} is not in the table of scripts/check-imports.ts`);
    else if (!allowed[from].includes(to)) problems.push(`${path}: ${from} must not import ${specifier}`);
    edges.set(from, (edges.get(from) ?? new Set()).add(to));
  }
}
for (const [from, targets] of edges)
  for (const to of targets)
    if (from < to && edges.get(to)?.has(from)) problems.push(`${from} and ${to} import one another`);

for (const problem of new Set(problems)) console.log(problem);
process.exitCode = problems.length === 0 ? 0 : 1;

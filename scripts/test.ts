/**
 * Runs everything that has to hold: format and lint, types, direction of imports, then the tests: those without root
 * in parallel, then one file after another those that touch the kernel.
 *
 *   scripts/test.ts [--only-checks | --only-tests] [part of a test file's path]...
 *
 * The last line is `N passed, M failed` (and `, K skipped`); the exit code is 0 only when nothing failed. Checks count
 * as one each. Skipped tests are named, with their reason, so that a machine that lacks something is seen to lack it.
 */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { run } from "node:test";

const root = join(import.meta.dirname, "..");
const options = process.argv.slice(2).filter((argument) => argument.startsWith("--"));
const parts = process.argv.slice(2).filter((argument) => !argument.startsWith("--"));

/** How long one test file may take, in milliseconds, before it is stopped and counts as failed: only a hang gets there. */
const fileTimeout = 2_400_000;
/** How long everything may take, in milliseconds; then what is running is named, and what was found so far is told. */
const wholeTimeout = 5_000_000;

const began = performance.now();
let passed = 0;
/** Milliseconds a file's tests took. */
const spent = new Map<string, number>();
const failures: string[] = [];
/** The test that began last. */
let running = "";
const skips: string[] = [];

function command(...argv: [string, ...string[]]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(argv[0], argv.slice(1), { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.on("error", (error) => resolve({ code: 127, output: String(error) }));
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

async function check(name: string, ...argv: [string, ...string[]]): Promise<void> {
  const { code, output } = await command(...argv);
  if (code === 0) {
    passed++;
    console.log(`ok      ${name}`);
    return;
  }
  failures.push(name);
  const lines = output.trimEnd().split("\n");
  const shown =
    lines.length > 120 ? [...lines.slice(0, 120), `… and ${lines.length - 120} lines more`] : lines;
  console.log(`FAILED  ${name}\n${shown.join("\n").replace(/^/gm, "    ")}`);
}

/** One line of why, for the list of failures; the whole story is printed when it happens. */
function story(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Of a file whose process failed without a failed test; what it said is told beside.
  const { exitCode, signal } = error as { exitCode?: number; signal?: string };
  const end = exitCode === undefined ? "" : `exit code ${exitCode}, signal ${signal}`;
  // node:test wraps what the test threw.
  const thrown = "cause" in error && error.cause instanceof Error ? error.cause : error;
  const cause = "cause" in error && typeof error.cause === "string" ? error.cause : "";
  return [thrown.stack ?? thrown.message, cause, end].filter(Boolean).join("\n");
}

async function runTests(files: string[], concurrency: number): Promise<void> {
  if (files.length === 0) return;
  const stream = run({
    files: files.map((file) => join(root, file)),
    concurrency,
    timeout: fileTimeout,
    cwd: root,
    execArgv: ["--disable-warning=ExperimentalWarning"],
    // A clean-up that fails may leave a child, which would hold its file, and no time limit would end that.
    forceExit: true,
  });
  const parents = new Map<string, string[]>();
  const pathOf = (data: { file?: string; name: string; nesting: number }): string => {
    const file = data.file === undefined ? "" : relative(root, data.file);
    const chain = parents.get(file) ?? [];
    const name = isFile(data) ? "(the file itself)" : data.name;
    return [file, ...chain.slice(0, data.nesting), name].join(" > ");
  };
  stream.on("test:start", (data) => {
    const file = data.file === undefined ? "" : relative(root, data.file);
    const chain = parents.get(file) ?? [];
    chain.length = Math.min(chain.length, data.nesting);
    chain[data.nesting] = data.name;
    parents.set(file, chain);
    running = pathOf(data);
  });
  // A file that held tests is reported as a test itself only when something went wrong outside of them.
  const isFile = (data: { file?: string; name: string }) => data.name === data.file;
  const isSuite = (data: { details: { type?: string | undefined } }) => data.details.type === "suite";
  const count = (data: { file?: string; nesting: number; details: { duration_ms: number } }) => {
    if (data.file === undefined || data.nesting > 0) return;
    const file = relative(root, data.file);
    spent.set(file, (spent.get(file) ?? 0) + data.details.duration_ms);
  };
  stream.on("test:pass", (data) => {
    count(data);
    if (isSuite(data)) return;
    if (isFile(data)) {
      failures.push(`${pathOf(data)}: holds no test`);
      return;
    }
    if (data.skip !== undefined && data.skip !== false) {
      const reason = typeof data.skip === "string" && data.skip !== "" ? `: ${data.skip}` : "";
      skips.push(pathOf(data) + reason);
    } else if (data.todo === undefined || data.todo === false) {
      passed++;
      if (data.nesting === 0) console.log(`ok      ${pathOf(data)}`);
    }
  });
  stream.on("test:fail", (data) => {
    count(data);
    const error = data.details.error;
    // A suite, or a test with subtests, fails because of what is inside it, which has been told already.
    if ("failureType" in error && error.failureType === "subtestsFailed") return;
    failures.push(pathOf(data));
    console.log(`FAILED  ${pathOf(data)}\n${story(error).replace(/^/gm, "    ")}`);
  });
  stream.on("test:diagnostic", (data) => {
    if (data.file !== undefined) console.log(`    | ${data.message}`);
  });
  stream.on("test:stdout", ({ message }) => process.stdout.write(message.replace(/^(?=.)/gm, "    | ")));
  stream.on("test:stderr", ({ message }) => process.stdout.write(message.replace(/^(?=.)/gm, "    | ")));
  // The stream has to be read for the run to go on.
  for await (const _ of stream);
}

function summarize(): void {
  const slowest = [...spent].sort(([, one], [, other]) => other - one).slice(0, 12);
  const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(0).padStart(5)} s`;
  if (slowest.length > 1) {
    console.log(`\nlongest:\n${slowest.map(([file, time]) => `${seconds(time)}  ${file}`).join("\n")}`);
  }
  if (skips.length > 0) console.log(`\nskipped:\n${skips.map((name) => `  ${name}`).join("\n")}`);
  if (failures.length > 0) console.log(`\nfailed:\n${failures.map((name) => `  ${name}`).join("\n")}`);
  const skipped = skips.length > 0 ? `, ${skips.length} skipped` : "";
  console.log(`\nin all:\n${seconds(performance.now() - began)}`);
  console.log(`\n${passed} passed, ${failures.length} failed${skipped}`);
}

setTimeout(() => {
  failures.push(`everything: not over after ${wholeTimeout / 60_000} minutes, in ${running}`);
  summarize();
  process.exit(1);
}, wholeTimeout).unref();

const bin = (name: string) => join(root, "node_modules/.bin", name);
const node = process.execPath;

if (!options.includes("--only-tests")) {
  // The npm scripts behind these start with `#!/usr/bin/env node`; they are run with the right Node instead.
  await check(
    "format and lint",
    node,
    bin("biome"),
    "check",
    "--error-on-warnings",
    "--no-errors-on-unmatched",
  );
  await check("types", node, bin("tsc"), "-p", ".");
  await check("direction of imports", node, "scripts/check-imports.ts");
}
if (!options.includes("--only-checks")) {
  const all = [
    ...globSync("{packages,apps,scripts,launcher,bench,chaos}/**/*.test.ts", { cwd: root }).sort(),
    ...globSync("test/**/*.test.ts", { cwd: root }).sort(),
  ].filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)));
  // One at a time: they share links, firewall and ports, and a virtual machine's kernel gives up where it gets no processor.
  const alone = all.filter((file) => file.startsWith("test/") || file.endsWith(".root.test.ts"));
  await runTests(
    all.filter((file) => !alone.includes(file)),
    Math.max(1, availableParallelism()),
  );
  await runTests(alone, 1);
}
summarize();
process.exitCode = failures.length === 0 ? 0 : 1;

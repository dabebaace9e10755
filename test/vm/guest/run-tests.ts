/** In the virtual machine: runs test files, one after another, and tells each result as a line that begins with "@@". */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { run } from "node:test";

const root = join(import.meta.dirname, "../../..");
const files = process.argv.slice(2).map((file) => join(root, file));
/**
 * What strips types is WebAssembly, and where V8 begins to compile that better, it ends the process now and then, looking for
 * the code it came from (Runtime_WasmTriggerTierUp: "Check failed: it->second.Size() > offset", V8 13.6). Seen here only.
 */
const LIFTOFF = "--liftoff-only";
const names = process.env.BERTH_TEST_NAMES;
const stream = run({
  files,
  concurrency: Number(process.env.BERTH_FILES_AT_ONCE ?? 1),
  execArgv: ["--disable-warning=ExperimentalWarning", LIFTOFF],
  // As scripts/test.ts has it: what a file leaves open is not to hold it.
  forceExit: true,
  ...(names === undefined ? {} : { testNamePatterns: [new RegExp(names)] }),
});

/** The end of what each file's process said on its standard error, and of what its test runner noted. */
const said = new Map<string, string>();
const SAID_CHARACTERS = 4_000;

const tell = (result: object) => process.stdout.write(`\n@@${JSON.stringify(result)}\n`);
const isFile = (data: { name: string; file?: string | undefined }) => data.name === data.file;
const whose = ({ name, file }: { name: string; file?: string | undefined }) => ({ name, file });

function remember(file: string, message: string): void {
  said.set(file, ((said.get(file) ?? "") + message).slice(-SAID_CHARACTERS));
}

/** How a file's process ended, and what it said last: without a failed test, that is all there is to know. */
function endOf(file: string, error: object): string {
  const { exitCode, signal } = error as { exitCode?: number | null; signal?: string | null };
  const kernel = signal ? execFileSync("dmesg", { encoding: "utf8" }).split("\n").slice(-20).join("\n") : "";
  return `exit code ${exitCode ?? "none"}, signal ${signal ?? "none"}\n${said.get(file) ?? ""}${kernel}`;
}

stream.on("test:pass", (data) => {
  if (data.details.type === "suite" || isFile(data)) return;
  const { duration_ms } = data.details;
  tell({ ...whose(data), skip: data.skip === undefined ? false : data.skip || "skipped", duration_ms });
});
stream.on("test:fail", (data) => {
  const { error } = data.details;
  if ("failureType" in error && error.failureType === "subtestsFailed") return;
  const { cause } = error;
  const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause ?? error);
  tell({ ...whose(data), error: isFile(data) ? `${reason}\n${endOf(data.file ?? "", error)}` : reason });
});
// What a test has to tell whoever reads its results.
stream.on("test:stdout", ({ message }) => {
  for (const line of message.split("\n")) if (line.startsWith("note: ")) tell({ note: line.slice(6) });
});
stream.on("test:stderr", ({ file, message }) => {
  remember(file, message);
  process.stdout.write(message);
});
// Among them: an error thrown after the test it belongs to had ended, which fails the file.
stream.on("test:diagnostic", ({ file, message }) => remember(file ?? "", `${message}\n`));
for await (const _ of stream);

/** In the virtual machine: runs test files, one after another, and tells each result as a line that begins with "@@". */
import { join } from "node:path";
import { run } from "node:test";

const root = join(import.meta.dirname, "../../..");
const files = process.argv.slice(2).map((file) => join(root, file));
const names = process.env.BERTH_TEST_NAMES;
const stream = run({
  files,
  concurrency: Number(process.env.BERTH_FILES_AT_ONCE ?? 1),
  execArgv: ["--disable-warning=ExperimentalWarning"],
  ...(names === undefined ? {} : { testNamePatterns: [new RegExp(names)] }),
});

const tell = (result: object) => process.stdout.write(`\n@@${JSON.stringify(result)}\n`);
const isFile = (data: { name: string; file?: string | undefined }) => data.name === data.file;
const whose = ({ name, file }: { name: string; file?: string | undefined }) => ({ name, file });
stream.on("test:pass", (data) => {
  if (data.details.type === "suite" || isFile(data)) return;
  const { duration_ms } = data.details;
  tell({ ...whose(data), skip: data.skip === undefined ? false : data.skip || "skipped", duration_ms });
});
stream.on("test:fail", (data) => {
  const { error } = data.details;
  if ("failureType" in error && error.failureType === "subtestsFailed") return;
  const { cause } = error;
  tell({
    ...whose(data),
    error: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause ?? error),
  });
});
// What a test has to tell whoever reads its results.
stream.on("test:stdout", ({ message }) => {
  for (const line of message.split("\n")) if (line.startsWith("note: ")) tell({ note: line.slice(6) });
});
stream.on("test:stderr", ({ message }) => process.stdout.write(message));
for await (const _ of stream);

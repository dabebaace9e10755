/** In the virtual machine: runs test files, one after another, and tells each result as a line that begins with "@@". */
import { join } from "node:path";
import { run } from "node:test";

const root = join(import.meta.dirname, "../../..");
const files = process.argv.slice(2).map((file) => join(root, file));
const stream = run({ files, concurrency: 1, execArgv: ["--disable-warning=ExperimentalWarning"] });

const tell = (result: object) => process.stdout.write(`\n@@${JSON.stringify(result)}\n`);
const isFile = (data: { name: string; file?: string | undefined }) => data.name === data.file;
stream.on("test:pass", (data) => {
  if (data.details.type === "suite" || isFile(data)) return;
  tell({ name: data.name, skip: data.skip === undefined ? false : data.skip || "skipped" });
});
stream.on("test:fail", (data) => {
  const { error } = data.details;
  if ("failureType" in error && error.failureType === "subtestsFailed") return;
  const { cause } = error;
  tell({
    name: data.name,
    error: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause ?? error),
  });
});
stream.on("test:stderr", ({ message }) => process.stdout.write(message));
for await (const _ of stream);

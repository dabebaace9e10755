/**
 * The OCI runtime's command line: runc's verbs over the same compiler and launcher the daemon uses. Composition only.
 * Verbs that are not there yet say so instead of doing half of it.
 */
import { parseArgs } from "node:util";
import { BerthError } from "#errors/errors.ts";
import { runBundle } from "./run-bundle.ts";
import { writeSpec } from "./write-spec.ts";

const VERSION = "0.1.0";
const SPEC_VERSION = "1.2.0";
const DEFAULT_ROOT = "/run/berth-oci";

/** runc's verbs that are still to come. */
const planned = new Set(
  "checkpoint create delete events exec features kill list pause ps restore resume start state update".split(
    " ",
  ),
);

const HELP = `Usage: berth-oci [global options] command [command options] [arguments...]

Runs containers from OCI bundles.

Commands:
  run ID    make a container from a bundle, run it in the foreground, and hand back its exit code
  spec      write a config.json to begin with

Global options:
  --root DIR     where the state of containers is kept (default ${DEFAULT_ROOT})
  --help, -h     show this help
  --version, -v  show the version

Options of run and spec:
  --bundle, -b DIR  the bundle's directory (default .)
  --pid-file FILE   write the container's host pid there (run)
`;

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      root: { type: "string", default: DEFAULT_ROOT },
      bundle: { type: "string", short: "b", default: "." },
      "pid-file": { type: "string" },
      help: { type: "boolean", short: "h", default: false },
      version: { type: "boolean", short: "v", default: false },
    },
  });
  if (values.version) {
    process.stdout.write(`berth-oci version ${VERSION}\nspec: ${SPEC_VERSION}\n`);
    return 0;
  }
  const [verb, ...rest] = positionals;
  if (values.help || verb === undefined || verb === "help") {
    process.stdout.write(HELP);
    return verb === undefined && !values.help ? 1 : 0;
  }
  if (verb === "spec") {
    takeNone(verb, rest);
    writeSpec(values.bundle);
    return 0;
  }
  if (verb === "run") {
    const [id, ...more] = rest;
    if (id === undefined) throw usage("run: a container id is needed");
    takeNone(`${verb} ${id}`, more);
    return await runBundle({ id, bundle: values.bundle, root: values.root, pidFile: values["pid-file"] });
  }
  if (planned.has(verb)) {
    throw new BerthError("not-implemented", `${verb} is not supported yet`, { operation: verb });
  }
  throw usage(`no such command: ${verb}`);
}

function takeNone(verb: string, rest: readonly string[]): void {
  if (rest.length > 0) throw usage(`${verb}: unexpected argument ${JSON.stringify(rest[0])}`);
}

function usage(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "read command line", hint: "see berth-oci --help" });
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const known = error instanceof BerthError || (error instanceof TypeError && "code" in error);
  const text =
    error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
  const hint = error instanceof BerthError && error.hint !== undefined ? `\n${error.hint}` : "";
  process.stderr.write(`berth-oci: ${text}${hint}\n`);
  const { exitCode } = error as { exitCode?: unknown };
  process.exitCode = typeof exitCode === "number" ? exitCode : 1;
}

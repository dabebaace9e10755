/** Programs that know what the kernel does not: mkfs, growing file systems, volume groups. */
import { BerthError } from "#errors/errors.ts";
import { runCommand } from "#kernel/run-command.ts";
import { isErrno } from "#kernel/syscall-error.ts";

/** Where they are, whatever the daemon's own PATH. */
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Milliseconds; making a file system on a slow disk takes its time. */
const timeout = 600_000;

/** Answers its output. Throws "unavailable" where it is not installed, "internal" with what it says where it fails. */
export async function runTool(name: string, args: readonly string[]): Promise<string> {
  const detail = { operation: "run program", object: name };
  const env = { PATH: path, LC_ALL: "C" };
  let end: Awaited<ReturnType<typeof runCommand>>;
  try {
    end = await runCommand(name, args, { input: "", env, timeout });
  } catch (cause) {
    if (!isErrno(cause, "ENOENT")) throw cause;
    throw new BerthError("unavailable", `exec: "${name}": executable file not found in $PATH`, {
      ...detail,
      hint: "Install the package that has it: xfsprogs, e2fsprogs, lvm2 or thin-provisioning-tools.",
      cause,
    });
  }
  if (end.status === 0) return end.output;
  const said = (end.complaints || end.output).trim();
  throw new BerthError(
    "internal",
    `${name} ${args.join(" ")}: ${said || (end.signal ?? end.status)}`,
    detail,
  );
}

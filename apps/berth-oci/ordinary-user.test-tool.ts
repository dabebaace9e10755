/**
 * An ordinary user for tests, with ranges of ids that are his: he exists in mount namespaces of the test's only. Beside him
 * a directory with a bundle. Needs root, and newuidmap and newgidmap for more ids than his own.
 */
import { spawnSync } from "node:child_process";
import {
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const main = join(import.meta.dirname, "main.ts");
export const UID = 54_321;
/** The first of the ids that are his, and how many. */
export const SUBORDINATE = 300_000;
export const COUNT = 65_536;
export const APPLETS = "sh cat id ls mount touch stat sleep grep chown tty hostname echo".split(" ");

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

export const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

export class OrdinaryUser implements Disposable {
  readonly directory: string;
  readonly #prelude: string;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), "berth-rootless-"));
    const { directory } = this;
    for (const name of "|run|home|etc|rootfs|rootfs/bin|rootfs/proc|rootfs/dev|rootfs/sys|rootfs/tmp".split(
      "|",
    )) {
      mkdirSync(join(directory, name), { recursive: true });
      chownSync(join(directory, name), UID, UID);
    }
    copyFileSync("/bin/busybox", join(directory, "rootfs/bin/busybox"));
    for (const name of APPLETS) symlinkSync("busybox", join(directory, "rootfs/bin", name));
    const files = {
      passwd: `root:x:0:0::/root:/bin/sh\ntester:x:${UID}:${UID}::${directory}/home:/bin/sh\n`,
      group: `root:x:0:\ntester:x:${UID}:\n`,
      subuid: `tester:${SUBORDINATE}:${COUNT}\n`,
      subgid: `tester:${SUBORDINATE}:${COUNT}\n`,
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, "etc", name), text);
    for (const name of ["subuid", "subgid"])
      if (!existsSync(`/etc/${name}`)) writeFileSync(`/etc/${name}`, "");
    this.#prelude = Object.keys(files)
      .map((name) => `mount --bind ${directory}/etc/${name} /etc/${name}`)
      .join(" && ");
  }

  /** The command line as a shell's words. */
  get command(): string {
    return `${process.execPath} --disable-warning=ExperimentalWarning ${main}`;
  }

  /** Runs a shell script in which `oci` is the command line; as the user, after `first` has been done by root. */
  asUser(script: string, first = ":"): Result {
    const setpriv = `setpriv --reuid ${UID} --regid ${UID} --clear-groups`;
    const own = quote(`oci() { ${this.command} "$@"; }; ${script}`);
    return this.#shell(`${this.#prelude} && { ${first}; } && exec ${setpriv} sh -c ${own}`);
  }

  asRoot(script: string): Result {
    return this.#shell(`oci() { ${this.command} "$@"; }; ${script}`);
  }

  #shell(script: string): Result {
    const { status, stdout, stderr } = spawnSync("unshare", ["-m", "sh", "-c", script], {
      cwd: this.directory,
      encoding: "utf8",
      timeout: 60_000,
      env: {
        PATH: process.env.PATH,
        HOME: join(this.directory, "home"),
        XDG_RUNTIME_DIR: join(this.directory, "run"),
      },
    });
    return { status, stdout, stderr };
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

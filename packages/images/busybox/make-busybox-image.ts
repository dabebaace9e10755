/**
 * Makes the image berth/busybox, as a docker-archive, from a statically linked busybox.
 *
 * So that a machine without a network can run a container. The same busybox gives the same image, bit for bit: its dates
 * are those of the binary. Run as a program: make-busybox-image.ts <archive> [<busybox>].
 */
import { execFile } from "node:child_process";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { BerthError } from "#errors/errors.ts";
import { type BuiltImage, buildImage, buildTar, dockerArchive, type NewEntry } from "../archive-build.ts";
import { hostPlatform } from "../platform.ts";

export const busyboxName = "berth/busybox:latest";
export const defaultBusybox = "/bin/busybox";

const directories: [string, number][] = [
  ["bin", 0o755],
  ["dev", 0o755],
  ["etc", 0o755],
  ["home", 0o755],
  ["proc", 0o755],
  ["root", 0o700],
  ["sys", 0o755],
  ["tmp", 0o1777],
  ["usr", 0o755],
  ["usr/bin", 0o755],
  ["usr/sbin", 0o755],
  ["var", 0o755],
  ["var/www", 0o755],
];

/** Debian's numbers, so that files shared with a Debian host have the owners one expects. */
const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`;

const group = `root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
wheel:x:10:root
mail:x:8:
audio:x:29:
www-data:x:33:
operator:x:37:
video:x:44:
users:x:100:
nogroup:x:65534:
`;

/** Writes the archive to `archive`, whole or not at all. Throws BerthError where `busybox` cannot serve. */
export async function makeBusyboxImage(archive: string, busybox: string = defaultBusybox): Promise<void> {
  const { image, modified } = await busyboxImage(busybox);
  const staged = `${archive}.${process.pid}`;
  await writeFile(staged, dockerArchive([{ image, tags: [busyboxName] }], modified));
  await rename(staged, archive);
}

/** The image in memory; `modified` is the date of all that is in it, seconds since the epoch. */
export async function busyboxImage(
  busybox: string = defaultBusybox,
): Promise<{ image: BuiltImage; modified: number }> {
  const binary = await readBinary(busybox);
  const { mtimeMs } = await stat(busybox);
  const modified = Math.floor(mtimeMs / 1000);
  const created = new Date(modified * 1000).toISOString();
  const { architecture, os, variant } = hostPlatform();
  const image = buildImage([buildTar(entries(binary, await appletsOf(busybox)), modified)], {
    architecture,
    ...(variant === "" ? {} : { variant }),
    config: { Cmd: ["sh"], Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
    created,
    history: [
      { created, created_by: "busybox and its applets as /bin", empty_layer: false },
      { created, created_by: 'CMD ["sh"]', empty_layer: true },
    ],
    os,
  });
  return { image, modified };
}

function entries(binary: Buffer, applets: readonly string[]): NewEntry[] {
  const file = (name: string, content: string | Buffer, mode = 0o644): NewEntry => ({
    type: "file",
    name,
    content,
    mode,
  });
  return [
    ...directories.map(([name, mode]): NewEntry => ({ type: "directory", name, mode })),
    file("bin/busybox", binary, 0o755),
    ...applets.map((applet): NewEntry => link(`bin/${applet}`)),
    // Scripts begin with #!/usr/bin/env.
    link("usr/bin/env"),
    file("etc/passwd", passwd),
    file("etc/group", group),
    file("etc/shadow", "root:*:::::::\n", 0o640),
  ];
}

function link(name: string): NewEntry {
  return { type: "hardlink", name, linkName: "bin/busybox", mode: 0o755 };
}

async function appletsOf(busybox: string): Promise<string[]> {
  try {
    const { stdout } = await promisify(execFile)(busybox, ["--list"]);
    const names = stdout.split("\n").filter((name) => /^[\w[.+-]+$/.test(name) && name !== "busybox");
    return [...new Set(names)].sort();
  } catch (cause) {
    throw unusable(busybox, `it does not run: ${(cause as Error).message}`, cause);
  }
}

async function readBinary(busybox: string): Promise<Buffer> {
  let binary: Buffer;
  try {
    binary = await readFile(busybox);
  } catch (cause) {
    throw unusable(busybox, (cause as Error).message, cause);
  }
  if (!binary.subarray(0, 4).equals(Buffer.from("\x7fELF"))) throw unusable(busybox, "it is no ELF binary");
  if (hasInterpreter(binary)) throw unusable(busybox, "it is linked dynamically, so it cannot run alone");
  return binary;
}

/** Has the ELF file a program header of type PT_INTERP (3)? elf(5); 64-bit little-endian, which is all that Berth runs on. */
function hasInterpreter(binary: Buffer): boolean {
  if (binary[4] !== 2 || binary[5] !== 1) return false;
  const table = Number(binary.readBigUInt64LE(32));
  const entrySize = binary.readUInt16LE(54);
  const count = binary.readUInt16LE(56);
  for (let index = 0; index < count; index++) {
    if (binary.readUInt32LE(table + index * entrySize) === 3) return true;
  }
  return false;
}

function unusable(busybox: string, why: string, cause?: unknown): BerthError {
  return new BerthError("internal", `cannot make an image from ${busybox}: ${why}`, {
    operation: "make busybox image",
    object: busybox,
    hint: "install Debian's busybox-static",
    ...(cause === undefined ? {} : { cause }),
  });
}

if (import.meta.main) {
  const [archive, busybox] = process.argv.slice(2);
  if (archive === undefined) {
    process.stderr.write("usage: make-busybox-image.ts <archive> [<busybox>]\n");
    process.exit(2);
  }
  await makeBusyboxImage(archive, busybox);
}

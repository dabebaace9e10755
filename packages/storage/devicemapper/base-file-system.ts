/** The file system that all layers' devices begin with: made once, known again, grown. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import type { DevicemapperOptions } from "#storage/devicemapper/devicemapper-options.ts";
import { runTool } from "#storage/devicemapper/run-tool.ts";

export interface KnownFileSystem {
  kind: "xfs" | "ext4";
  /** Thirty-two digits. */
  uuid: string;
}

/** Bytes at the beginning of a device that have both superblocks. */
const headSize = 4096;
/** struct xfs_sb, at the beginning; big-endian. */
const xfs = { magic: "XFSB", uuidAt: 32 };
/** struct ext4_super_block, at byte 1024; little-endian. */
const ext4 = { magicAt: 1024 + 0x38, magic: 0xef53, uuidAt: 1024 + 0x68 };

/** What is on a device; undefined for nothing that is known here. */
export function identify(device: string): KnownFileSystem | undefined {
  const head = Buffer.alloc(headSize);
  const fd = openSync(device, "r");
  try {
    readSync(fd, head, 0, headSize, 0);
  } finally {
    closeSync(fd);
  }
  return identifyHead(head);
}

export function identifyHead(head: Buffer): KnownFileSystem | undefined {
  const uuid = (at: number) => head.toString("hex", at, at + 16);
  if (head.toString("latin1", 0, 4) === xfs.magic) return { kind: "xfs", uuid: uuid(xfs.uuidAt) };
  if (head.readUInt16LE(ext4.magicAt) === ext4.magic) return { kind: "ext4", uuid: uuid(ext4.uuidAt) };
  return undefined;
}

/** The one asked for; else xfs where the kernel has it by now, else ext4. */
export function chooseFileSystem({ fileSystem }: DevicemapperOptions): "xfs" | "ext4" {
  if (fileSystem !== "") return fileSystem;
  return /\bxfs$/m.test(readFileSync("/proc/filesystems", "utf8")) ? "xfs" : "ext4";
}

/** Nothing is left to be initialised later: each layer would do it again, and keep the blocks for itself. */
export async function makeFileSystem(
  kind: "xfs" | "ext4",
  device: string,
  given: readonly string[],
): Promise<void> {
  const own =
    kind === "xfs"
      ? ["-q", "-f", "-K"]
      : ["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"];
  await runTool(`mkfs.${kind}`, [...own, ...given, device]);
}

/** Grows a mounted file system to the size of its device. */
export async function growFileSystem(
  kind: "xfs" | "ext4",
  device: string,
  mountPoint: string,
): Promise<void> {
  if (kind === "xfs") await runTool("xfs_growfs", [mountPoint]);
  else await runTool("resize2fs", [device]);
}

/** Options of a mount: xfs refuses two file systems with one identity otherwise, and all layers have the base's. */
export function mountData(kind: "xfs" | "ext4", given: readonly string[]): string {
  return [...(kind === "xfs" ? ["nouuid"] : []), ...given].filter((option) => option !== "").join(",");
}

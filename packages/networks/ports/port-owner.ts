/**
 * Which process has a port of the host, for the error that says it is taken: through /proc, off the event loop, and no
 * further than a fixed amount of work.
 */
import { open, readdir, readFile, readlink } from "node:fs/promises";

/** Of each table of sockets, bytes that are read; a line has 150. */
const mostBytes = 4 << 20;
/** Looking through processes ends after this, ms: the error waits for it. */
const patience = 500;
const listening = "0A";

/** "nginx (pid 1234)"; undefined if it is not found. */
export async function findPortOwner(protocol: "tcp" | "udp", port: number): Promise<string | undefined> {
  const inodes = new Set<string>();
  for (const table of [protocol, `${protocol}6`]) {
    for (const inode of parseSockets(await readSome(`/proc/net/${table}`), protocol, port)) inodes.add(inode);
  }
  return inodes.size === 0 ? undefined : await findHolder(inodes);
}

/** The inodes of sockets bound to a port, and listening if they are TCP's, in a table as /proc/net/tcp has it. Pure. */
export function parseSockets(table: string, protocol: "tcp" | "udp", port: number): string[] {
  const wanted = port.toString(16).toUpperCase().padStart(4, "0");
  return table.split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [, local = "", , state] = fields;
    const inode = fields[9];
    if (!local.endsWith(`:${wanted}`) || inode === undefined || inode === "0") return [];
    return protocol === "udp" || state === listening ? [inode] : [];
  });
}

async function readSome(path: string): Promise<string> {
  try {
    await using file = await open(path);
    const bytes = Buffer.alloc(64 << 10);
    let text = "";
    while (text.length < mostBytes) {
      const { bytesRead } = await file.read(bytes, 0, bytes.length, null);
      if (bytesRead === 0) break;
      text += bytes.toString("latin1", 0, bytesRead);
    }
    return text;
  } catch {
    return ""; // No such family.
  }
}

async function findHolder(inodes: ReadonlySet<string>): Promise<string | undefined> {
  const links = new Set([...inodes].map((inode) => `socket:[${inode}]`));
  const deadline = performance.now() + patience;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    if (performance.now() > deadline) return undefined;
    if (pid === String(process.pid)) continue;
    try {
      const directory = `/proc/${pid}/fd`;
      for (const fd of await readdir(directory)) {
        if (links.has(await readlink(`${directory}/${fd}`).catch(() => ""))) {
          return `${(await readFile(`/proc/${pid}/comm`, "utf8")).trim()} (pid ${pid})`;
        }
      }
    } catch {
      // It has ended, or is none of ours to look into.
    }
  }
  return undefined;
}

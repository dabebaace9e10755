/**
 * Which process has a port of the host, for the error that says it is taken: through /proc, in slices between which the
 * event loop goes on, and no further than a fixed amount of work.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { setImmediate as nextTurn } from "node:timers/promises";

/** Of each table of sockets, bytes that are read; a line has 150. */
const mostBytes = 4 << 20;
/** Looking through processes ends after this, ms: the error waits for it. */
const patience = 5000;
/** Milliseconds that one slice may take. */
const slice = 2;
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
  let turn = performance.now();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (pid === String(process.pid)) continue;
    for (const fd of descriptors(pid)) {
      // Each look takes microseconds; a thread of the pool for it would take longer.
      if (links.has(linkOf(`/proc/${pid}/fd/${fd}`))) return `${nameOf(pid)} (pid ${pid})`;
      if (performance.now() - turn < slice) continue;
      await nextTurn();
      turn = performance.now();
      if (turn > deadline) return undefined;
    }
  }
  return undefined;
}

function descriptors(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    return []; // It has ended, or is none of ours to look into.
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "a process";
  }
}

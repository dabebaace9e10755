/**
 * A union beside overlayfs on the same layers, by hand: `node compare-speed.ts [DIRECTORY]` as root, on a machine that has
 * nothing else to do. Prints milliseconds of alternating runs, everything in memory before, and what the server used of
 * a processor meanwhile. The first line is of mounts that nobody has looked at yet.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MNT_DETACH, mount, umount2 } from "#kernel/mount-syscalls.ts";
import { UnionMountFixture } from "#test/fixtures/union-mount.ts";

const FILES = 10_000;
const LAYERS = 3;
const MEGABYTES = 256;

const base = mkdtempSync(join(process.argv[2] ?? tmpdir(), "berth-union-speed-"));
const at = (name: string) => join(base, name);

function makeLayers(): string[] {
  const layers = Array.from({ length: LAYERS }, (_, index) => at(`layer${index}`));
  for (let file = 0; file < FILES; file++) {
    const directory = join(layers[file % LAYERS] as string, `tree/d${file % 25}/e${file % 400}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `file${file}`), Buffer.alloc((file * 7919) % 12_000, file));
  }
  writeFileSync(join(layers[1] as string, "large"), Buffer.alloc(MEGABYTES * 1024 * 1024, 7));
  return layers;
}

/** Milliseconds of processor time that a process has used. */
function used(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ");
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

const work: [name: string, script: string][] = [
  ["tar of 10,000 files, first", "tar -cf - tree | cat >/dev/null"],
  ["tar of 10,000 files", "tar -cf - tree | cat >/dev/null"],
  [`read ${MEGABYTES} MB`, "dd if=large of=/dev/null bs=128k status=none"],
  ["find", "find tree >/dev/null"],
  [`write ${MEGABYTES} MB`, `dd if=/dev/zero of=new bs=128k count=${MEGABYTES * 8} status=none`],
  ["write 20,000 times 4 KB", "dd if=/dev/zero of=new2 bs=4k count=20000 status=none"],
  ["copy 400 files", "cp -r tree/d1 copy$RANDOM"],
  ["copy up 400 files", "find tree/d$((RUN + 2)) -type f -exec chmod 600 {} +"],
];

async function compare(): Promise<void> {
  const layers = makeLayers();
  await using union = await UnionMountFixture.make();
  union.lower.push(...layers);
  await union.unmount();
  await union.mount();
  for (const name of ["overlay", "upper", "work"]) mkdirSync(at(name));
  const options = `lowerdir=${layers.join(":")},upperdir=${at("upper")},workdir=${at("work")}`;
  mount("overlay", at("overlay"), "overlay", 0, options);
  execFileSync("sh", ["-c", "find . -type f -exec cat {} + >/dev/null"], { cwd: base });
  for (const [name, script] of work) {
    const times: Record<"union" | "overlay", number[]> = { union: [], overlay: [] };
    const before = used(union.serverPid);
    const rounds = name.endsWith("first") ? 1 : 3;
    for (let round = 0; round < rounds; round++) {
      for (const which of ["union", "overlay"] as const) {
        const cwd = which === "union" ? union.path : at("overlay");
        const start = performance.now();
        execFileSync("bash", ["-c", script], { cwd, env: { ...process.env, RUN: String(round) } });
        times[which].push(Math.round(performance.now() - start));
      }
    }
    const [own, theirs] = [Math.min(...times.union), Math.min(...times.overlay)];
    const server = Math.round((used(union.serverPid) - before) / rounds);
    console.log(
      `${name.padEnd(28)} union ${times.union.join(" ")}  overlay2 ${times.overlay.join(" ")}` +
        `  ratio ${(own / theirs).toFixed(1)}  server ${server} ms`,
    );
  }
}

try {
  await compare();
} finally {
  try {
    umount2(at("overlay"), MNT_DETACH);
  } catch {
    // It was not mounted.
  }
  rmSync(base, { recursive: true, force: true });
}

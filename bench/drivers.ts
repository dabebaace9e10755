/**
 * Storage drivers side by side: the same work on each, in turn, every one on a file system of its own in a loop device, so that
 * none is better for the disk it happens to be on.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { hasDeviceMapper } from "#kernel/device-mapper.ts";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";
import { median } from "./statistics.ts";
import { printTable } from "./table.ts";

/** The first is what the others are held against. */
const drivers = [
  { name: "overlay2", kind: "ext4" },
  { name: "btrfs", kind: "btrfs" },
  { name: "devicemapper", kind: "ext4" },
  { name: "aufs", kind: "ext4" },
  { name: "vfs", kind: "ext4" },
] as const;

/** Between two runs, as in the other benches. */
const gap = 250;
const image = "berth/busybox";
/** MiB of the file that is copied up and read. */
const large = 64;
/** By read(2): busybox's cat would have the kernel move pages to /dev/null, which looks at none of them. */
const read = "dd if=/large of=/dev/null bs=64k 2>/dev/null";
/** How often it is read for a figure of what is cached: one time is too short for /proc/uptime. */
const again = 20;
/** Files of the image that is packed, 4 KiB each, and directories they are in. */
const many = { files: 10_000, directories: 100 };

const plant = [
  "mkdir /many && head -c 4096 /dev/urandom >/one",
  `for d in $(seq ${many.directories}); do mkdir /many/$d`,
  `for f in $(seq ${many.files / many.directories}); do cp /one /many/$d/$f; done; done`,
].join("; ");

interface DriverCase {
  name: string;
  runs: number;
  /** At most so many times what the first driver needs. */
  budget: Partial<Record<string, number>>;
  /** Milliseconds. */
  measure(daemon: TestDaemon): Promise<number>;
}

const cases: DriverCase[] = [
  {
    name: "container create and start",
    runs: 20,
    budget: { btrfs: 1.5, devicemapper: 1.5 },
    measure: async (daemon) => {
      const begun = performance.now();
      const id = await create(daemon, image, ["true"]);
      await daemon.api("POST", `/containers/${id}/start`);
      const time = performance.now() - begun;
      await daemon.api("POST", `/containers/${id}/wait`);
      await daemon.api("DELETE", `/containers/${id}`);
      return time;
    },
  },
  {
    name: `first write to a file of ${large} MiB`,
    runs: 7,
    budget: {},
    measure: (daemon) => inContainer(daemon, "echo >>/large"),
  },
  {
    // Files of btrfs's snapshots share blocks on the disk, not pages in memory.
    name: `first read of a file of ${large} MiB`,
    runs: 7,
    budget: {},
    measure: (daemon) => inContainer(daemon, read),
  },
  {
    name: `one of the next ${again}`,
    runs: 7,
    budget: { aufs: 2 },
    measure: async (daemon) =>
      (await inContainer(daemon, `for i in $(seq ${again}); do ${read}; done`, read)) / again,
  },
  {
    name: `tar of ${many.files} files of 4 KiB`,
    runs: 7,
    budget: { aufs: 5 },
    // Twice, so that the disk has no part in it.
    measure: (daemon) => inContainer(daemon, "tar -cf - /many | cat >/dev/null", "tar -cf /dev/null /many"),
  },
];

async function create(daemon: TestDaemon, from: string, command: string[]): Promise<string> {
  const request = { Image: from, Cmd: command, HostConfig: { NetworkMode: "none" } };
  return JSON.parse((await daemon.api("POST", "/containers/create", request)).body).Id;
}

/** How long a script takes in a container, without the container's own start: ms, to the precision of /proc/uptime. */
async function inContainer(daemon: TestDaemon, script: string, before = ":"): Promise<number> {
  const clock = "read up _ </proc/uptime; echo $up";
  const ran = await daemon.dockerAsync(
    ...["run", "--rm", "--network", "none", "bench-large", "sh", "-c"],
    `${before}; ${clock}; ${script}; ${clock}`,
  );
  const [from = 0, to = 0] = ran.stdout.trim().split("\n").map(Number);
  return (to - from) * 1000;
}

export interface DriverRow {
  name: string;
  /** Median, ms. */
  figures: Record<string, number>;
}

/** Measures and prints. */
export async function benchDrivers(): Promise<DriverRow[]> {
  const disks: LoopFileSystem[] = [];
  const daemons = new Map<string, TestDaemon>();
  const rows: DriverRow[] = [];
  try {
    for (const [index, { name, kind }] of drivers.entries()) {
      const without = name === "devicemapper" && !hasDeviceMapper() && "no device mapper in the kernel";
      const missing = without || LoopFileSystem.missing(kind);
      if (missing !== undefined) {
        console.error(`bench: without ${name}: ${missing}`);
        continue;
      }
      const disk = LoopFileSystem.make(kind, { size: 8 * 1024 ** 3 });
      disks.push(disk);
      const daemon = await TestDaemon.start({ flags: ["-s", name], subnet: 196 + index, place: disk.path });
      daemons.set(name, daemon);
      daemon.loadBusybox();
      const fill = `dd if=/dev/urandom of=/large bs=1M count=${large} 2>/dev/null`;
      daemon.ok("run", "--name", "large", "--network", "none", image, "sh", "-c", `${fill}; ${plant}`);
      daemon.ok("commit", "large", "bench-large");
      daemon.ok("rm", "large");
    }
    for (const one of cases) {
      console.error(`bench: ${one.name} …`);
      const values = new Map([...daemons.keys()].map((name) => [name, [] as number[]]));
      for (let run = 0; run < one.runs; run++) {
        for (const [name, daemon] of daemons) {
          await sleep(gap);
          values.get(name)?.push(await one.measure(daemon));
        }
      }
      rows.push({ name: one.name, figures: Object.fromEntries([...values].map(([k, v]) => [k, median(v)])) });
    }
  } finally {
    for (const daemon of daemons.values()) await daemon.stop();
    for (const disk of disks) disk[Symbol.dispose]();
  }
  print(rows);
  return rows;
}

function print(rows: readonly DriverRow[]): void {
  const [first] = drivers;
  const lines = rows.map(({ name, figures }) => {
    const base = figures[first.name] ?? Number.NaN;
    const cells = drivers.map((driver) => {
      const figure = figures[driver.name];
      if (figure === undefined) return "-";
      const budget = cases.find((one) => one.name === name)?.budget[driver.name];
      const verdict = budget === undefined ? "" : figure <= base * budget ? " ok" : ` OVER ${budget}×`;
      const ratio = base > 0 ? `${(figure / base).toFixed(1)}×` : "";
      return `${figure.toFixed(1)} ms (${ratio}${verdict})`;
    });
    return [name, ...cells];
  });
  printTable([["case", ...drivers.map(({ name }) => name)], ...lines]);
}

/**
 * Volumes of the local driver that are more than a directory: with `type`, `device` and `o` options they are mounted at
 * their first user and unmounted after the last.
 *
 * What is mounted is the kernel's to know (mountinfo), not ours: a daemon that comes back finds the volumes of running
 * containers mounted, and those of nobody. Never touches a path below a mount point, whose server may be gone.
 */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { BerthError } from "#errors/errors.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { startThread } from "#kernel/threads.ts";
import { type LocalOptions, needsMount } from "#volumes/local-options.ts";
import { MS, parseMountOptions } from "#volumes/mount-options.ts";
import { type MountTask, performMount } from "#volumes/perform-mount.ts";
import { Turns } from "#volumes/turns.ts";

export class LocalMounts {
  readonly #users = new Map<string, Set<string>>();
  /** What goes on with one target is done one by one. */
  readonly #turns = new Turns();

  /** Throws "internal" with Docker's text if it cannot be mounted. */
  async acquire(target: string, user: string, options: LocalOptions): Promise<void> {
    await this.#turns.run(target, async () => {
      const users = this.#users.get(target) ?? new Set();
      if (users.size === 0 && needsMount(options) && !isMounted(target)) await mountVolume(target, options);
      users.add(user);
      this.#users.set(target, users);
    });
  }

  /** A user from before this daemon's time. */
  adopt(target: string, user: string): void {
    const users = this.#users.get(target) ?? new Set();
    this.#users.set(target, users.add(user));
  }

  async release(target: string, user: string, options: LocalOptions): Promise<void> {
    await this.#turns.run(target, async () => {
      const users = this.#users.get(target);
      if (users === undefined || !users.delete(user) || users.size > 0) return;
      this.#users.delete(target);
      if (needsMount(options) && isMounted(target))
        await perform({ kind: "unmount", target }, isQuick(options));
    });
  }

  isUsed(target: string): boolean {
    return (this.#users.get(target)?.size ?? 0) > 0;
  }

  /** Unmounts whatever is mounted at or below a path, if nobody uses it. Throws where something cannot be. */
  async clear(path: string): Promise<void> {
    const below = readMountInfo().filter(({ mountPoint }) => isAtOrBelow(mountPoint, path));
    for (const { mountPoint: target, fsType } of below.reverse()) {
      if (!this.isUsed(target)) await perform({ kind: "unmount", target }, fsType === "tmpfs");
    }
  }
}

export function isMounted(path: string): boolean {
  return readMountInfo().some(({ mountPoint }) => mountPoint === path);
}

export function isAtOrBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

async function mountVolume(target: string, options: LocalOptions): Promise<void> {
  const { device = "", type = "" } = options;
  if (device === "") throw failed(target, "missing device in volume options");
  const { source, o } = await resolveServer(options, target);
  const { flags, data, propagation } = parseMountOptions(o);
  try {
    await perform({ kind: "mount", source, target, type, flags, data, propagation }, isQuick(options));
  } catch (cause) {
    if (!(cause instanceof SyscallError)) throw cause;
    const parts = [`mount ${source}:${target}`];
    if (flags !== 0) parts.push(`flags: 0x${flags.toString(16)}`);
    if (data !== "") parts.push(`data: ${data.replace(/(^|,)password=[^,]*/, "$1password=********")}`);
    const text = cause.message.replace(/^.*?: (.*) \(E\w+\)$/, "$1");
    throw failed(target, `failed to mount local volume: ${parts.join(", ")}: ${text}`, hintFor(cause, type));
  }
}

function hintFor({ code }: SyscallError, type: string): string | undefined {
  if (code === "ENODEV") return `This machine's kernel has no file system of the type ${type}.`;
  return undefined;
}

/** The kernel takes addresses only: names of servers, in `addr=` or of a share, are looked up. */
async function resolveServer(
  { device = "", type = "", o = "" }: LocalOptions,
  target: string,
): Promise<{ source: string; o: string }> {
  if (type !== "nfs" && type !== "cifs") return { source: device, o };
  const address = /(?:^|,)addr=([^,]*)/.exec(o)?.[1] ?? "";
  if (address !== "") {
    if (isIP(address) !== 0) return { source: device, o };
    return { source: device, o: o.replace(`addr=${address}`, `addr=${await addressOf(address, target)}`) };
  }
  const host = type === "cifs" ? (/^(?:[a-z]+:)?\/\/([^/]+)/i.exec(device)?.[1] ?? "") : "";
  if (host === "" || isIP(host) !== 0) return { source: device, o };
  return { source: device.replace(host, await addressOf(host, target)), o };
}

async function addressOf(host: string, target: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw failed(target, `error resolving passed in network volume address: ${why}`);
  }
}

function failed(target: string, why: string, hint?: string): BerthError {
  return new BerthError("internal", `error while mounting volume '${target}': ${why}`, {
    operation: "mount volume",
    object: target,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Memory and binds are mounted at once; what may ask a server or a disk is left to a thread of its own. */
function isQuick({ type, o = "" }: LocalOptions): boolean {
  return type === "tmpfs" || (parseMountOptions(o).flags & MS.BIND) !== 0;
}

async function perform(task: MountTask, quick: boolean): Promise<void> {
  if (quick) performMount(task);
  else await inThread(task);
}

function inThread(task: MountTask): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = startThread(new URL("./mount-worker.ts", import.meta.url), { workerData: task });
    worker.once("error", reject);
    worker.once("message", ({ call, errno }: { call: string; errno: number }) => {
      if (errno === 0) resolve();
      else reject(new SyscallError(call, errno, [task.target]));
    });
    worker.once("exit", () => reject(new Error(`the ${task.kind} of ${task.target} was cut short`)));
  });
}

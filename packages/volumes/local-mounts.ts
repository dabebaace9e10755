/**
 * Volumes of the local driver that are more than a directory: with `type`, `device` and `o` options they are mounted at
 * their first user and unmounted after the last.
 */
import { BerthError } from "#errors/errors.ts";
import { mount, umount2 } from "#kernel/mount-syscalls.ts";
import { parseMountOptions } from "#volumes/mount-options.ts";
import { isMountPoint } from "#volumes/mount-point.ts";

const KNOWN = ["type", "device", "o", "size"];

export class LocalMounts {
  readonly #users = new Map<string, Set<string>>();
  readonly #targets = new Map<string, string>();

  /** Throws "invalid" for options the local driver does not have, with Docker's text. */
  static check(options: Record<string, string>, name: string): void {
    for (const key of Object.keys(options)) {
      if (KNOWN.includes(key)) continue;
      throw new BerthError("invalid", `create ${name}: invalid option: "${key}"`, {
        operation: "create volume",
        object: name,
        hint: "the local driver takes type, device and o",
      });
    }
    if (options.type !== undefined && options.device === undefined) {
      throw new BerthError("invalid", `create ${name}: missing required option: "device"`, {
        operation: "create volume",
        object: name,
      });
    }
  }

  async acquire(name: string, user: string, target: string, options: Record<string, string>): Promise<void> {
    const users = this.#users.get(name) ?? new Set();
    users.add(user);
    this.#users.set(name, users);
    if (options.device === undefined || isMountPoint(target)) return;
    const { flags, data } = parseMountOptions(options.o ?? "");
    try {
      mount(options.device, target, options.type ?? "", flags, data);
      this.#targets.set(name, target);
    } catch (cause) {
      users.delete(user);
      throw new BerthError(
        "internal",
        `failed to mount local volume: mount ${options.device}:${target}: ${cause instanceof Error ? cause.message : cause}`,
        {
          operation: "mount volume",
          object: name,
          cause,
        },
      );
    }
  }

  /** Answers whether this user had it. */
  async releaseUser(name: string, user: string): Promise<boolean> {
    const users = this.#users.get(name);
    const had = users?.delete(user) ?? false;
    if (users?.size === 0) {
      this.#users.delete(name);
      await this.release(name);
    }
    return had;
  }

  /** Unmounts if it is mounted. */
  async release(name: string): Promise<void> {
    const target = this.#targets.get(name);
    if (target === undefined) return;
    umount2(target);
    this.#targets.delete(name);
  }
}

/**
 * The thin pool that a driver's layers are in, and the devices in it: made, activated, taken out of use, deleted.
 *
 * A device has a number in the pool for as long as it exists, and a name in the kernel (`docker-8:1-1234-<layer>`) only
 * while it is active. Knows nothing of rows and of file systems.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { discard } from "#kernel/block-devices.ts";
import { type DeviceMapper, type DeviceState, devicePath } from "#kernel/device-mapper.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { checkPool, type PoolState, parsePoolState } from "#storage/devicemapper/pool-state.ts";

/** Bytes. */
export const sectorSize = 512;
/** How often, and for how long, a device is asked again that somebody looks at: udev opens every new one for a moment. */
const busy = { every: 20, times: 100 };

export class ThinPool {
  readonly #mapper: DeviceMapper;
  readonly name: string;
  /** Begins the names of its devices. */
  readonly prefix: string;
  readonly #deferredRemoval: boolean;
  #number: string | undefined;

  constructor(mapper: DeviceMapper, name: string, prefix: string, deferredRemoval: boolean) {
    this.#mapper = mapper;
    this.name = name;
    this.prefix = prefix;
    this.#deferredRemoval = deferredRemoval;
  }

  async state(): Promise<PoolState> {
    const [target] = await this.#mapper.status(this.name);
    const state = target?.type === "thin-pool" ? parsePoolState(target.parameters) : undefined;
    if (state !== undefined) return state;
    throw new BerthError("unavailable", `devmapper: ${this.name} is no thin pool`, {
      operation: "read thin pool",
      object: this.name,
    });
  }

  /** Bytes of its blocks. */
  async blockSize(): Promise<number> {
    const [target] = await this.#mapper.table(this.name);
    return Number(target?.parameters.split(" ")[2] ?? 0) * sectorSize;
  }

  /** Throws "no-space" where nothing more may be made: less than `minFree` percent is free, or the pool is broken. */
  async check(minFree: number): Promise<void> {
    checkPool(this.name, await this.state(), minFree);
  }

  /** An empty device. */
  async createThin(id: number): Promise<void> {
    await this.#create(id, `create_thin ${id}`);
  }

  /** A device that begins as another one, which is `origin` if it is active: it is still for that moment. */
  async createSnapshot(id: number, of: { id: number; name: string }): Promise<void> {
    const origin = await this.#mapper.state(this.prefix + of.name);
    if (origin === undefined) return await this.#create(id, `create_snap ${id} ${of.id}`);
    await this.#mapper.suspend(this.prefix + of.name);
    try {
      await this.#create(id, `create_snap ${id} ${of.id}`);
    } finally {
      await this.#mapper.resume(this.prefix + of.name);
    }
  }

  async #create(id: number, message: string): Promise<void> {
    try {
      await this.#mapper.message(this.name, message);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw this.#explain(error);
      // Its row went with a power cut: no layer has it.
      await this.delete(id);
      await this.#mapper.message(this.name, message);
    }
  }

  /** Frees a device's blocks; nothing for one that is gone. EBUSY while it is active. */
  async delete(id: number): Promise<void> {
    try {
      await this.#mapper.message(this.name, `delete ${id}`);
    } catch (error) {
      if (!isErrno(error, "ENODATA")) throw error;
    }
  }

  /** Makes a device usable; answers its node. What is active already, or about to go, is taken as it is. */
  async activate(name: string, id: number, size: number): Promise<string> {
    const full = this.prefix + name;
    const path = devicePath(full);
    const parameters = `${await this.#device()} ${id}`;
    const targets = [{ start: 0, length: size / sectorSize, type: "thin", parameters }];
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#mapper.create(full, targets);
        return path;
      } catch (error) {
        if (attempt < busy.times && isErrno(error, "EBUSY", "EEXIST")) {
          if (await this.#takeOver(full)) return path;
          // Somebody closed, at this moment, what was to go.
          continue;
        }
        if (isErrno(error, "ENODATA", "ENOENT")) throw this.#lost(name, id, error);
        throw this.#explain(error);
      }
    }
  }

  /** The pool as tables of devices name it; the same as long as it is there. */
  async #device(): Promise<string> {
    if (this.#number !== undefined) return this.#number;
    const state = await this.#mapper.state(this.name);
    if (state !== undefined) {
      this.#number = `${state.major}:${state.minor}`;
      return this.#number;
    }
    throw new BerthError("unavailable", `devmapper: Non existing device ${this.name}`, {
      operation: "activate device",
      object: this.name,
    });
  }

  async #takeOver(full: string): Promise<boolean> {
    const state = await this.#mapper.state(full);
    if (state === undefined) return false;
    if (state.deferredRemove) {
      try {
        await this.#mapper.keep(full);
      } catch (error) {
        if (isErrno(error, "ENXIO")) return false;
        throw error;
      }
      if ((await this.#mapper.state(full)) === undefined) return false;
    }
    if (state.suspended) await this.#mapper.resume(full);
    if (state.active) return true;
    // A crash came between its name and its table.
    await this.#mapper.remove(full);
    return false;
  }

  /** Takes a device out of use; where somebody still has it open, as soon as that is over. */
  async deactivate(name: string): Promise<void> {
    const full = this.prefix + name;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#mapper.remove(full);
        return;
      } catch (error) {
        if (isErrno(error, "ENXIO")) return;
        if (!isErrno(error, "EBUSY")) throw error;
      }
      if (this.#deferredRemoval) break;
      if (attempt >= busy.times) throw this.#inUse(name);
      await sleep(busy.every);
    }
    try {
      await this.#mapper.removeLater(full);
    } catch (error) {
      if (!isErrno(error, "ENXIO")) throw error;
    }
  }

  /** The node of a device that is active. */
  path(name: string): string {
    return devicePath(this.prefix + name);
  }

  stateOf(name: string): Promise<DeviceState | undefined> {
    return this.#mapper.state(this.prefix + name);
  }

  /** Names of its devices that are active. */
  async active(): Promise<string[]> {
    const all = await this.#mapper.list();
    const own = all.filter((name) => name.startsWith(this.prefix) && name !== this.name);
    return own.map((name) => name.slice(this.prefix.length));
  }

  /** A crash may have come while one stood still for a snapshot: who uses it waits. */
  async resumeAll(): Promise<void> {
    for (const name of await this.active()) {
      const full = this.prefix + name;
      if ((await this.#mapper.state(full))?.suspended) await this.#mapper.resume(full);
    }
  }

  /** Gives the blocks of an active device back to what the pool lies on. */
  async discard(name: string, size: number): Promise<void> {
    await discard(devicePath(this.prefix + name), size);
  }

  #lost(name: string, id: number, cause: unknown): BerthError {
    return new BerthError(
      "not-found",
      `devmapper: the device ${id} of layer ${name} is not in the pool ${this.name}`,
      {
        operation: "activate device",
        object: name,
        hint: "The pool is another one than before, or its metadata was damaged.",
        cause,
      },
    );
  }

  #inUse(name: string): BerthError {
    return new BerthError("conflict", "devmapper: Device is Busy", {
      operation: "deactivate device",
      object: name,
    });
  }

  /** Pools that cannot write say so by EIO, EROFS, EINVAL … of whatever is asked of them. */
  #explain(cause: unknown): BerthError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new BerthError("internal", `devmapper: the thin pool ${this.name} refuses: ${reason}`, {
      operation: "ask thin pool",
      object: this.name,
      hint: `dmsetup status ${this.name} shows its state.`,
      cause,
    });
  }
}

/**
 * Who has which volume mounted: asks the driver at each beginning and end of use, and tells of both. Known from the containers
 * that run, not stored.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "#errors/logger-types.ts";
import { asking, type VolumeDrivers } from "#volumes/volume-drivers.ts";
import type { VolumeRow } from "#volumes/volume-rows.ts";
import type { VolumeEventListener, VolumeUser } from "#volumes/volume-types.ts";

/** How long the end of a container waits for its volumes to be unmounted, ms. */
const UNMOUNT_PATIENCE = 5_000;

export class VolumeUsers {
  readonly #drivers: VolumeDrivers;
  readonly #onEvent: VolumeEventListener;
  readonly #logger: Logger | undefined;
  /** By volume, then by who has it mounted. */
  readonly #users = new Map<string, Map<string, VolumeUser>>();
  /** Ends of use that are under way; who comes next waits for them. */
  readonly #leaving = new Map<string, Promise<void>>();

  constructor(drivers: VolumeDrivers, onEvent: VolumeEventListener, logger: Logger | undefined) {
    this.#drivers = drivers;
    this.#onEvent = onEvent;
    this.#logger = logger;
  }

  /** Answers the host path. */
  async mount({ name, driver: driverName }: VolumeRow, user: VolumeUser): Promise<string> {
    const key = keyOf(user);
    await this.leaving(name);
    const driver = await this.#drivers.get(driverName, `mount ${name}`);
    const path = await asking(`error while mounting volume '${name}'`, name, () => driver.mount(name, key));
    this.adopt(name, user);
    if (!user.quiet) {
      this.#onEvent("mount", name, {
        container: user.container,
        destination: user.destination,
        driver: driverName,
        propagation: user.propagation,
        "read/write": String(!user.readOnly),
      });
    }
    return path;
  }

  /** Nothing for who does not have it. */
  async unmount(name: string, driverName: string, user: VolumeUser): Promise<void> {
    const users = this.#users.get(name);
    const key = keyOf(user);
    if (users === undefined || !users.delete(key)) return;
    if (users.size === 0) this.#users.delete(name);
    if (!user.quiet) this.#onEvent("unmount", name, { driver: driverName, container: user.container });
    await this.#leave(name, async () =>
      (await this.#drivers.get(driverName, `unmount ${name}`)).unmount(name, key),
    );
  }

  /** Has had it since before. */
  adopt(name: string, user: VolumeUser): void {
    const users = this.#users.get(name) ?? new Map<string, VolumeUser>();
    this.#users.set(name, users.set(keyOf(user), user));
  }

  /** Resolves when whoever was about to give the volume back has done so. */
  async leaving(name: string): Promise<void> {
    await this.#leaving.get(name);
  }

  /** Whoever had the volume has ended: that does not fail any more, nor wait long for a server or a plugin. */
  async #leave(name: string, unmount: () => Promise<void>): Promise<void> {
    const before = this.#leaving.get(name) ?? Promise.resolve();
    const left = before.then(unmount).catch((error: unknown) => {
      this.#logger?.error("a volume could not be unmounted", { volume: name, error });
    });
    this.#leaving.set(name, left);
    void left.then(() => {
      if (this.#leaving.get(name) === left) this.#leaving.delete(name);
    });
    const patience = new AbortController();
    const late = sleep(UNMOUNT_PATIENCE, undefined, { signal: patience.signal }).catch(() => undefined);
    await Promise.race([left, late]);
    patience.abort();
  }
}

/** What a user is called to drivers. */
export function keyOf({ container, destination, quiet }: VolumeUser): string {
  return `${container}${quiet ? "-files" : ""}:${destination}`;
}

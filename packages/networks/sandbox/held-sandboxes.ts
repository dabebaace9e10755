/**
 * What every running container holds of its networks: the rows, their copy in memory, the first process of each, and
 * the link by which its namespace is found (<exec-root>/netns/<id>).
 *
 * Decides nothing: the controller says what is held, and gives it back.
 */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { PublishedBefore } from "#networks/drivers/driver-types.ts";
import {
  type DamageListener,
  type HeldSandbox,
  type NetworkRecords,
  randomId,
} from "#networks/network-record.ts";
import type { SandboxRequest } from "#networks/network-types.ts";
import { ownerOf } from "#networks/sandbox/joining.ts";

/** The last part of the key of a container in the host's namespace. */
const HOST_KEY = "default";

export class HeldSandboxes {
  readonly #records: NetworkRecords;
  readonly #directory: string;
  readonly #held = new Map<string, HeldSandbox>();
  readonly #pids = new Map<string, number>();
  /** Containers whose rows could not be read. */
  readonly #unknown = new Set<string>();

  constructor(records: NetworkRecords, execRoot: string) {
    this.#records = records;
    this.#directory = join(execRoot, "netns");
  }

  /** Reads the rows of the daemon before this one. */
  load(onDamage: DamageListener): void {
    const listener: DamageListener = (damaged) => {
      this.#unknown.add(damaged.name);
      onDamage(damaged);
    };
    for (const held of this.#records.sandboxes(listener)) this.#held.set(held.containerId, held);
  }

  /** Does anybody who still runs hold what nobody knows? Then nothing may be taken back that nobody seems to have. */
  holdsUnknown(running: ReadonlyMap<string, unknown>): boolean {
    for (const containerId of this.#unknown) {
      if (running.has(containerId) && !this.#held.has(containerId)) continue;
      this.#unknown.delete(containerId);
      if (!this.#held.has(containerId)) this.#records.removeSandbox(containerId);
    }
    return this.#unknown.size > 0;
  }

  get(containerId: string): HeldSandbox | undefined {
    return this.#held.get(containerId);
  }

  all(): HeldSandbox[] {
    return [...this.#held.values()];
  }

  /** The first process, once it runs. */
  pidOf(containerId: string): number | undefined {
    return this.#pids.get(containerId);
  }

  /** One that holds nothing yet; it is held from its first `save`. */
  compose(request: SandboxRequest, ownNamespace: boolean): HeldSandbox {
    const sandboxId = randomId();
    return {
      containerId: request.containerId,
      name: request.name,
      sandboxId,
      sandboxKey: join(this.#directory, ownNamespace ? sandboxId.slice(0, 12) : HOST_KEY),
      endpoints: {},
      ports: {},
      published: [],
      publishedOn: "",
      links: {},
      resolver: { servers: [], hostServers: true, keepsShortNames: false, embedded: false },
    };
  }

  save(held: HeldSandbox): void {
    this.#records.saveSandbox(held);
    this.#held.set(held.containerId, held);
  }

  /** Its first process runs: its namespace has a path. False where there is none of its own. */
  started(containerId: string, pid: number): boolean {
    const held = this.#held.get(containerId);
    if (held === undefined || isHosts(held)) return false;
    this.#pids.set(containerId, pid);
    mkdirSync(dirname(held.sandboxKey), { recursive: true, mode: 0o711 });
    rmSync(held.sandboxKey, { force: true });
    symlinkSync(`/proc/${pid}/ns/net`, held.sandboxKey);
    return true;
  }

  /** It holds nothing any more, whether or not its row can be removed. */
  drop(containerId: string): void {
    const held = this.#held.get(containerId);
    if (this.#unknown.delete(containerId)) this.#records.removeSandbox(containerId);
    if (held === undefined) return;
    this.#held.delete(containerId);
    this.#pids.delete(containerId);
    // Before the row, from which alone a daemon after this one knows of it.
    if (!isHosts(held)) rmSync(held.sandboxKey, { force: true });
    this.#records.removeSandbox(containerId);
  }

  /** A running container with a namespace of its own; throws "conflict" for any other. */
  running({ containerId, name }: SandboxRequest): { held: HeldSandbox; pid: number } {
    const held = this.#held.get(containerId);
    const pid = this.#pids.get(containerId);
    if (held === undefined || pid === undefined) {
      throw new BerthError("conflict", `container ${name} has no network of its own`, {
        operation: "change network",
        object: name,
      });
    }
    return { held, pid };
  }

  /** Names of the containers on a network. */
  usersOf(network: string): string[] {
    return this.all().flatMap((held) => (held.endpoints[network] === undefined ? [] : [held.name]));
  }

  /** What is published on a network, by endpoint. */
  publishedOn(network: string): PublishedBefore {
    const holders = this.all().filter((held) => held.publishedOn === network);
    return new Map(
      holders.flatMap((held) => {
        const endpoint = held.endpoints[network];
        if (endpoint === undefined || held.published.length === 0) return [];
        return [[endpoint.EndpointID, { owner: ownerOf(held, endpoint), ports: held.published }] as const];
      }),
    );
  }

  /** Ids of all endpoints. */
  endpointIds(): Set<string> {
    return new Set(
      this.all().flatMap((held) => Object.values(held.endpoints).map((endpoint) => endpoint.EndpointID)),
    );
  }

  /** Names of all links on the host's side. */
  links(): Set<string> {
    return new Set(this.all().flatMap((held) => Object.values(held.links).map(({ veth }) => veth)));
  }
}

/** Is it in the host's namespace? */
export function isHosts({ sandboxKey }: Pick<HeldSandbox, "sandboxKey">): boolean {
  return sandboxKey.endsWith(`/${HOST_KEY}`);
}

/**
 * Who has which name on which network, as the DNS server keeps it: a copy of what the controller has told.
 *
 * One container's entry is set or removed as a whole; what it has contributed is found again through that entry. A
 * question is answered from maps, with the records ready to be copied.
 */
import { encodeName, type RecordData } from "#networks/dns/answer.ts";
import type { ContainerNames, JoinedNetwork } from "#networks/dns/container-names.ts";
import { TYPE } from "#networks/dns/query.ts";
import { addressBytes, parseAddress } from "#networks/ipam/prefix.ts";

/** Records that are answered together, each of them first in its turn. */
export class RecordSet {
  readonly records: readonly RecordData[];
  #turn = 0;

  constructor(records: readonly RecordData[]) {
    this.records = records;
  }

  /** The index of the record that goes first this time. */
  next(): number {
    this.#turn = this.#turn + 1 < this.records.length ? this.#turn + 1 : 0;
    return this.#turn;
  }
}

const nothing = new RecordSet([]);

/** The records behind one name of one network. Each type has its own turns: clients ask for A and AAAA alternately. */
export class NameEntry {
  readonly #members = new Map<string, RecordData[]>();
  #v4 = nothing;
  #v6 = nothing;
  #all = nothing;

  get isEmpty(): boolean {
    return this.#members.size === 0;
  }

  set(containerId: string, records: RecordData[]): void {
    this.#members.set(containerId, records);
    this.#gather();
  }

  delete(containerId: string): void {
    this.#members.delete(containerId);
    this.#gather();
  }

  #gather(): void {
    const all = [...this.#members.values()].flat();
    this.#all = new RecordSet(all);
    this.#v4 = new RecordSet(all.filter(({ type }) => type === TYPE.A));
    this.#v6 = new RecordSet(all.filter(({ type }) => type === TYPE.AAAA));
  }

  /** None for a type that names of containers don't have. */
  ofType(type: number): RecordSet {
    if (type === TYPE.A) return this.#v4;
    if (type === TYPE.AAAA) return this.#v6;
    return type === TYPE.ANY ? this.#all : nothing;
  }
}

interface NetworkNames {
  names: Map<string, NameEntry>;
  /** Reverse name ("5.0.0.10.in-addr.arpa") → container → what it is called. */
  addresses: Map<string, Map<string, RecordData>>;
}

interface Asker {
  told: ContainerNames;
  /** ".shop" for a network "shop". */
  networks: { id: string; suffix: string; links: Map<string, string> }[];
}

export class NameTable {
  readonly #networks = new Map<string, NetworkNames>();
  readonly #askers = new Map<string, Asker>();

  /** Takes the place of what was told of this container before. */
  set(told: ContainerNames): void {
    this.delete(told.containerId);
    this.#askers.set(told.containerId, {
      told,
      networks: told.joined.map(({ networkId, networkName, links }) => ({
        id: networkId,
        suffix: `.${nameKey(networkName)}`,
        links: new Map(Object.entries(links).map(([alias, name]) => [nameKey(alias), nameKey(name)])),
      })),
    });
    for (const joined of told.joined) this.#add(told.containerId, joined);
  }

  delete(containerId: string): void {
    const asker = this.#askers.get(containerId);
    if (asker === undefined) return;
    this.#askers.delete(containerId);
    for (const joined of asker.told.joined) this.#take(containerId, joined);
  }

  get(containerId: string): ContainerNames | undefined {
    return this.#askers.get(containerId)?.told;
  }

  /** The entry of a name (lower case, no last dot) as this container sees it. The first network that has it counts. */
  find(containerId: string, name: string): NameEntry | undefined {
    const networks = this.#askers.get(containerId)?.networks;
    if (networks === undefined) return undefined;
    for (const { id, links } of networks) {
      const names = this.#networks.get(id)?.names;
      const entry = names?.get(links.get(name) ?? name);
      if (entry !== undefined) return entry;
    }
    for (const { id, suffix, links } of networks) {
      if (!name.endsWith(suffix)) continue;
      const short = name.slice(0, -suffix.length);
      const entry = this.#networks.get(id)?.names.get(links.get(short) ?? short);
      if (entry !== undefined) return entry;
    }
    return undefined;
  }

  /** The PTR record of a reverse name, for an address on one of the container's networks. */
  findReverse(containerId: string, reverseName: string): RecordData | undefined {
    for (const { id } of this.#askers.get(containerId)?.networks ?? []) {
      const found = this.#networks.get(id)?.addresses.get(reverseName)?.values().next().value;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #add(containerId: string, joined: JoinedNetwork): void {
    let network = this.#networks.get(joined.networkId);
    if (network === undefined) {
      network = { names: new Map(), addresses: new Map() };
      this.#networks.set(joined.networkId, network);
    }
    const records = addressRecords(joined);
    for (const name of joined.names.map(nameKey)) {
      const entry = network.names.get(name) ?? new NameEntry();
      entry.set(containerId, records);
      network.names.set(name, entry);
    }
    const data = encodeName(joined.reverseName);
    if (data === undefined) return;
    for (const key of reverseNames(joined)) {
      const owners = network.addresses.get(key) ?? new Map<string, RecordData>();
      owners.set(containerId, { type: TYPE.PTR, data });
      network.addresses.set(key, owners);
    }
  }

  #take(containerId: string, joined: JoinedNetwork): void {
    const network = this.#networks.get(joined.networkId);
    if (network === undefined) return;
    for (const name of joined.names.map(nameKey)) {
      const entry = network.names.get(name);
      entry?.delete(containerId);
      if (entry?.isEmpty) network.names.delete(name);
    }
    for (const key of reverseNames(joined)) {
      const owners = network.addresses.get(key);
      owners?.delete(containerId);
      if (owners?.size === 0) network.addresses.delete(key);
    }
    if (network.names.size === 0 && network.addresses.size === 0) this.#networks.delete(joined.networkId);
  }
}

function addressRecords({ v4, v6 }: JoinedNetwork): RecordData[] {
  return [v4, v6].flatMap((text) => {
    const address = parseAddress(text);
    if (address === undefined) return [];
    return [{ type: address.family === 4 ? TYPE.A : TYPE.AAAA, data: addressBytes(address) }];
  });
}

/** A name as questions have it: one character a byte, ASCII letters in lower case, no last dot. */
export function nameKey(name: string): string {
  return Buffer.from(name, "utf8")
    .toString("latin1")
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase())
    .replace(/\.$/, "");
}

/** The names under which a container's addresses are asked for (RFC 1035, 3.5; RFC 3596, 2.5). */
function reverseNames({ v4, v6 }: JoinedNetwork): string[] {
  return [v4, v6].flatMap((text) => {
    const address = parseAddress(text);
    if (address === undefined) return [];
    const bytes = [...addressBytes(address)].reverse();
    if (address.family === 4) return [`${bytes.join(".")}.in-addr.arpa`];
    const nibbles = bytes.flatMap((byte) => [(byte & 0xf).toString(16), (byte >> 4).toString(16)]);
    return [`${nibbles.join(".")}.ip6.arpa`];
  });
}

/**
 * Addresses of a network, given out and taken back, as rows of the state database.
 *
 * An address is never given twice. Fresh ones come first, in order; when all have been used once, the one that was
 * released longest ago: whoever still talks to a stopped container's address finds nobody for as long as possible.
 */
import { BerthError } from "#errors/errors.ts";
import {
  type Address,
  contains,
  formatAddress,
  formatPrefix,
  lastOf,
  type Prefix,
  width,
} from "#networks/ipam/prefix.ts";
import type { Database } from "#state/database.ts";
import { storeSurely } from "#state/store-surely.ts";

export interface AddressRange {
  networkId: string;
  /** For messages. */
  networkName: string;
  subnet: Prefix;
  /** Where addresses come from: the subnet or a part of it (--fixed-cidr). */
  range: Prefix;
  /** Never given out, like the subnet's first and (IPv4) last; undefined where there is none. */
  gateway: Address | undefined;
  /** Further addresses never given out: other machines' on the same wire. */
  auxiliary?: readonly Address[];
}

export class AddressLeases {
  readonly #database: Database;
  #released = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Gives `holder` an address, the `wanted` one if there is. Throws "internal" if the network has none left or the
   * wanted one is taken, "invalid" if it is not of the subnet.
   */
  take(range: AddressRange, holder: string, wanted?: Address): Address {
    return this.#database.transaction(() => {
      const address = wanted === undefined ? this.#next(range) : this.#check(range, wanted);
      this.#database.run(
        `INSERT INTO network_address (network_id, address, holder) VALUES (?, ?, ?)
         ON CONFLICT (network_id, address) DO UPDATE SET holder = excluded.holder`,
        range.networkId,
        encode(address),
        holder,
      );
      return address;
    });
  }

  /** Takes back what `holder` has, now or as soon as that can be stored; until then nobody gets it. Never throws. */
  release(holder: string): void {
    const write = () => {
      // Microseconds, so that the order survives a restart; never the same twice.
      this.#released = Math.max(Date.now() * 1000, this.#released + 1);
      this.#database.run(
        "UPDATE network_address SET holder = NULL, released = ? WHERE holder = ?",
        this.#released,
        holder,
      );
    };
    storeSurely(write, () => {});
  }

  /** Has anybody an address of this network? */
  isHeld(networkId: string): boolean {
    const query = "SELECT 1 FROM network_address WHERE network_id = ? AND holder IS NOT NULL LIMIT 1";
    return this.#database.get(query, networkId) !== undefined;
  }

  /** Takes back what those have that `keeps` says no to. */
  releaseOthers(networkId: string, keeps: (holder: string) => boolean): void {
    const holders = this.#database.all<{ holder: string }>(
      "SELECT DISTINCT holder FROM network_address WHERE network_id = ? AND holder IS NOT NULL",
      networkId,
    );
    for (const { holder } of holders) if (!keeps(holder)) this.release(holder);
  }

  /** Forgets addresses that nobody holds: after the network has moved to another subnet. */
  forgetFree(networkId: string): void {
    this.#database.run("DELETE FROM network_address WHERE network_id = ? AND holder IS NULL", networkId);
  }

  #next(range: AddressRange): Address {
    const { family } = range.subnet;
    const low = { family, value: range.range.first };
    const high = { family, value: lastOf(range.range) };
    // Fixed addresses may lie ahead of the cursor, hence the loop; it ends at the range's end at the latest.
    const used = this.#database.get<{ address: string | null }>(
      "SELECT max(address) AS address FROM network_address WHERE network_id = ? AND address BETWEEN ? AND ?",
      range.networkId,
      encode(low),
      encode(high),
    )?.address;
    let value = used ? decode(used) + 1n : low.value;
    while (value <= high.value && reserved(range, value)) value++;
    if (value <= high.value) return { family, value };
    return this.#oldest(range, low, high) ?? this.#gap(range, low.value, high.value) ?? full(range);
  }

  /** The free address released longest ago. */
  #oldest(range: AddressRange, low: Address, high: Address): Address | undefined {
    const row = this.#database
      .all<{ address: string }>(
        `SELECT address FROM network_address
         WHERE network_id = ? AND holder IS NULL AND address BETWEEN ? AND ? ORDER BY released LIMIT 2`,
        range.networkId,
        encode(low),
        encode(high),
      )
      .find((candidate) => !reserved(range, decode(candidate.address)));
    return row === undefined ? undefined : { family: low.family, value: decode(row.address) };
  }

  /** An address never given out below the highest: left by one that was asked for by number. */
  #gap(range: AddressRange, low: bigint, high: bigint): Address | undefined {
    const rows = this.#database.all<{ address: string }>(
      "SELECT address FROM network_address WHERE network_id = ? AND address BETWEEN ? AND ? ORDER BY address",
      range.networkId,
      encode({ family: range.subnet.family, value: low }),
      encode({ family: range.subnet.family, value: high }),
    );
    const used = new Set(rows.map((row) => decode(row.address)));
    for (let value = low; value <= high; value++) {
      if (!used.has(value) && !reserved(range, value)) return { family: range.subnet.family, value };
      // More rows than this cannot be in use, so a gap is found before.
      if (value - low > BigInt(rows.length + (range.auxiliary?.length ?? 0)) + 3n) break;
    }
    return undefined;
  }

  #check(range: AddressRange, wanted: Address): Address {
    if (!contains(range.subnet, wanted)) {
      throw new BerthError(
        "invalid",
        `no configured subnet or ip-range contain the IP address ${formatAddress(wanted)}`,
        {
          operation: "take an address",
          object: range.networkName,
          hint: `the subnet of this network is ${formatPrefix(range.subnet)}`,
        },
      );
    }
    const row = this.#database.get<{ holder: string | null }>(
      "SELECT holder FROM network_address WHERE network_id = ? AND address = ?",
      range.networkId,
      encode(wanted),
    );
    if (row?.holder || reserved(range, wanted.value)) {
      throw new BerthError("internal", "Address already in use", {
        operation: "take an address",
        object: formatAddress(wanted),
      });
    }
    return wanted;
  }
}

/** The network's own addresses: its first, its gateway, and the IPv4 broadcast. */
function reserved({ subnet, gateway, auxiliary }: AddressRange, value: bigint): boolean {
  // RFC 3021: a /31 has two hosts and no broadcast.
  const whole = width(subnet.family) - subnet.length <= 1;
  if (value === gateway?.value || auxiliary?.some((address) => address.value === value)) return true;
  if (whole) return false;
  return value === subnet.first || (subnet.family === 4 && value === lastOf(subnet));
}

function full(range: AddressRange): never {
  throw new BerthError(
    "internal",
    `no available IPv${range.subnet.family} addresses on this network's address pools: ${range.networkName} (${range.networkId})`,
    {
      operation: "take an address",
      object: range.networkName,
      hint: `all addresses of ${formatPrefix(range.range)} are held by running containers; use a larger subnet or stop some`,
    },
  );
}

/** Those of one family sort as the numbers do; IPv6 begins with a letter beyond all digits, after all of IPv4. */
function encode({ family, value }: Address): string {
  return `${family === 6 ? "v" : ""}${value.toString(16).padStart(width(family) / 4, "0")}`;
}

function decode(text: string): bigint {
  return BigInt(`0x${text.replace("v", "")}`);
}

/**
 * --subnet, --ip-range, --gateway and --aux-address of `network create`, put together by the subnet they lie in. Throws
 * Error with the texts of Docker's command line, which refuses these itself.
 */
import { BlockList, isIP } from "node:net";
import type { IpamConfig } from "#api-types/network.ts";
import type { FlagValues } from "#cli/flags.ts";

interface Pool {
  subnet: string;
  block: BlockList;
  config: IpamConfig;
}

export function ipamConfig(flags: FlagValues): IpamConfig[] {
  const [subnets, ranges, gateways] = [flags.list("subnet"), flags.list("ip-range"), flags.list("gateway")];
  if (subnets.length < ranges.length || subnets.length < gateways.length) {
    throw new Error("every ip-range or gateway must have a corresponding subnet");
  }
  const pools: Pool[] = [];
  for (const subnet of subnets) {
    const block = blockOf(subnet);
    const other = pools.find(
      (pool) => pool.block.check(...addressOf(subnet)) || block.check(...addressOf(pool.subnet)),
    );
    if (other !== undefined) throw new Error("multiple overlapping subnet configuration is not supported");
    pools.push({ subnet, block, config: { Subnet: subnet } });
  }
  for (const range of ranges) {
    blockOf(range);
    const pool = poolOf(pools, range, `no matching subnet for range ${range}`);
    // A range begins inside its subnet, and is no larger.
    if (lengthOf(range) < lengthOf(pool.subnet)) throw new Error(`no matching subnet for range ${range}`);
    if (pool.config.IPRange !== undefined) {
      throw new Error(
        `cannot configure multiple ranges (${range}, ${pool.config.IPRange}) on the same subnet (${pool.subnet})`,
      );
    }
    pool.config.IPRange = range;
  }
  for (const gateway of gateways) {
    const { subnet, config } = poolOf(pools, gateway, `no matching subnet for gateway ${gateway}`);
    if (config.Gateway !== undefined) {
      throw new Error(
        `cannot configure multiple gateway (${gateway}, ${config.Gateway}) for the same subnet (${subnet})`,
      );
    }
    config.Gateway = gateway;
  }
  for (const entry of flags.list("aux-address")) {
    const [name = "", address = ""] = entry.split(/=(.*)/s);
    const { config } = poolOf(pools, address, `no matching subnet for aux-address ${address}`);
    config.AuxiliaryAddresses = { ...config.AuxiliaryAddresses, [name]: address };
  }
  return pools.map(({ config }) => config);
}

function poolOf(pools: readonly Pool[], text: string, otherwise: string): Pool {
  const [address, family] = addressOf(text);
  const found = isIP(address) === 0 ? undefined : pools.find(({ block }) => block.check(address, family));
  if (found === undefined) throw new Error(otherwise);
  return found;
}

function blockOf(cidr: string): BlockList {
  const [address, family] = addressOf(cidr);
  const length = lengthOf(cidr);
  if (isIP(address) === 0 || !/\/\d{1,3}$/.test(cidr) || length > (family === "ipv6" ? 128 : 32)) {
    throw new Error(`invalid CIDR address: ${cidr}`);
  }
  const block = new BlockList();
  block.addSubnet(address, length, family);
  return block;
}

/** Of "address" or "address/length". */
function addressOf(text: string): [string, "ipv4" | "ipv6"] {
  const [address = ""] = text.split("/", 1);
  return [address, address.includes(":") ? "ipv6" : "ipv4"];
}

function lengthOf(cidr: string): number {
  return Number(cidr.split("/")[1]);
}

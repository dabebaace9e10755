/**
 * What may be asked of a new network whatever its driver: its name, its driver's name, and requests that no network here
 * can meet. Pure; the texts are Docker's.
 */
import type { NetworkCreateRequest } from "#api-types/network.ts";
import { BerthError, type ErrorCode } from "#errors/errors.ts";
import { isChildDriver } from "#networks/drivers/child-link-settings.ts";
import type { NetworkRecord } from "#networks/network-record.ts";
import { predefined } from "#networks/network-table.ts";

export interface CheckFacts {
  networks: readonly NetworkRecord[];
  kernelHasIpv6: boolean;
}

/** Throws for everything that is refused. */
export function checkRequest(request: NetworkCreateRequest, name: string, facts: CheckFacts): void {
  checkName(name, facts);
  if (!request.ConfigOnly) {
    checkScope(request, name);
    checkDrivers(request, name);
  }
  if (request.EnableIPv4 === false && !request.EnableIPv6) {
    throw refuse("invalid", "IPv4 or IPv6 must be enabled", name, "--ipv4=false needs --ipv6");
  }
  if (request.EnableIPv6 && !facts.kernelHasIpv6) {
    throw refuse("invalid", "IPv6 is not available: this kernel has none", name);
  }
}

function checkName(name: string, { networks }: CheckFacts): void {
  if (name.trim() === "") throw refuse("invalid", "invalid name: name is empty", name);
  if (predefined.has(name) || name === "default") {
    throw refuse("forbidden", `operation is not permitted on predefined ${name} network`, name);
  }
  if (name.includes("/") || name.startsWith("container:")) {
    throw refuse("invalid", `invalid network name: ${name}`, name, "a name has no slash");
  }
  if (networks.some((network) => network.name === name)) {
    throw refuse("conflict", `network with name ${name} already exists`, name);
  }
}

/** Networks here are of one host. */
function checkScope({ Scope, Ingress, Driver }: NetworkCreateRequest, name: string): void {
  if (Scope === "swarm") {
    throw refuse("forbidden", "cannot create a swarm scoped network when swarm is not active", name);
  }
  if ((Scope && Scope !== "local") || Driver === "overlay") {
    throw refuse(
      "unavailable",
      'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
      name,
      "networks here are of this host alone (--scope local)",
    );
  }
  if (Ingress) throw refuse("forbidden", "Ingress network can only be global scope network", name);
}

function checkDrivers(request: NetworkCreateRequest, name: string): void {
  const driver = request.Driver || "bridge";
  if (driver === "host" || driver === "null") {
    throw refuse("forbidden", `only one instance of "${driver}" network is allowed`, name);
  }
  if (driver !== "bridge" && !isChildDriver(driver)) {
    throw noPlugin(driver, name, "the drivers there are: bridge, macvlan, ipvlan");
  }
  const ipamDriver = request.IPAM?.Driver || "default";
  if (ipamDriver === "null") {
    const asked = (request.IPAM?.Config ?? []).some(({ Subnet }) => Subnet);
    throw refuse(
      "invalid",
      asked ? "null ipam driver does not handle specific address pool requests" : "ipv4 pool is empty",
      name,
      "the networks here give addresses: use --ipam-driver default",
    );
  }
  if (ipamDriver !== "default") throw noPlugin(ipamDriver, name, "the address driver there is: default");
}

function noPlugin(plugin: string, name: string, hint: string): BerthError {
  return refuse("not-found", `plugin ${JSON.stringify(plugin)} not found`, name, hint);
}

export function refuse(code: ErrorCode, message: string, object: string, hint?: string): BerthError {
  return new BerthError(code, message, {
    operation: "create network",
    object,
    ...(hint !== undefined && { hint }),
  });
}

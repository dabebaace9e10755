/**
 * What "host" and "none" have in common: endpoints that are an entry and nothing else. Ports are not published: on the
 * host's network what is open is open, and with none there is nobody to reach.
 */
import type { DriverEndpoint, EndpointRequest, NetworkDriver } from "#networks/drivers/driver-types.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import { bareEndpoint } from "#networks/endpoint-settings.ts";
import type { NetworkRecord } from "#networks/network-record.ts";

export function plainNetwork(record: NetworkRecord, ownNamespace: boolean): NetworkDriver {
  const nothing = async (): Promise<void> => {};
  return {
    ownNamespace,
    hasIpv6: false,
    routes: { ipv4: false, ipv6: false },
    gateway: undefined,
    take: ({ endpointId }: EndpointRequest): DriverEndpoint => ({
      settings: bareEndpoint(record.id, endpointId),
      program: emptyProgram(),
      veth: "",
    }),
    takePorts: () => [],
    resume: () => {},
    releaseOthers: () => {},
    start: nothing,
    publish: nothing,
    withdraw: nothing,
    leave: nothing,
    sweepLinks: nothing,
    remove: nothing,
    stop: nothing,
  };
}

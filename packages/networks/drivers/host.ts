/** The driver of "host": the container sees what the host sees. Ports it opens are open; nothing is published. */
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import { bareEndpoint } from "#networks/endpoint-settings.ts";
import { type NetworkRecord, randomId } from "#networks/network-record.ts";
import type { Sandbox } from "#networks/network-types.ts";

export function joinHost(record: NetworkRecord): Pick<Sandbox, "namespace" | "program" | "endpoints"> {
  return {
    namespace: { kind: "host" },
    program: emptyProgram(),
    endpoints: { [record.name]: bareEndpoint(record.id, randomId()) },
  };
}

/** The driver of "none": a namespace of its own with loopback only. */
import { loopbackProgram } from "#networks/drivers/sandbox-program.ts";
import { bareEndpoint } from "#networks/endpoint-settings.ts";
import { type NetworkRecord, randomId } from "#networks/network-record.ts";
import type { Sandbox } from "#networks/network-types.ts";

export function joinNone(record: NetworkRecord): Pick<Sandbox, "namespace" | "program" | "endpoints"> {
  return {
    namespace: { kind: "new" },
    program: loopbackProgram(),
    endpoints: { [record.name]: bareEndpoint(record.id, randomId()) },
  };
}

/** A container in another one's network namespace: it holds nothing, so nothing has to be given back. */
import { BerthError } from "#errors/errors.ts";
import { emptyProgram } from "#networks/drivers/sandbox-program.ts";
import type { Sandbox, SandboxRequest } from "#networks/network-types.ts";
import { type HeldSandboxes, isHosts } from "#networks/sandbox/held-sandboxes.ts";

/** Of a request whose mode is "container:<id>". Throws "conflict" where that one does not run. */
export function sharedSandbox({ mode }: Pick<SandboxRequest, "mode">, sandboxes: HeldSandboxes): Sandbox {
  const target = mode.slice("container:".length);
  const held = sandboxes.get(target);
  if (held === undefined) {
    throw new BerthError("conflict", `cannot join network of a non running container: ${target}`, {
      operation: "join network",
      object: target,
      hint: "start that container first",
    });
  }
  return {
    namespace: isHosts(held) ? { kind: "host" } : { kind: "path", path: held.sandboxKey },
    program: emptyProgram(),
    hosts: "",
    resolvConf: "",
    endpoints: {},
    ports: {},
    sandboxId: "",
    sandboxKey: "",
  };
}

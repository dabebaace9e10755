/**
 * Swarm: this daemon is outside of any, and answers as one that is, so that clients that only look get the answer they
 * know. Making or joining one is what it cannot do.
 */
import { BerthError } from "#errors/errors.ts";
import type { Handler, Handlers } from "./request-context.ts";

const NO_MANAGER =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

const managersOnly = [
  ..."SwarmInspect SwarmUpdate SwarmUnlockkey SwarmUnlock".split(" "),
  ..."NodeList NodeInspect NodeDelete NodeUpdate".split(" "),
  ..."ServiceList ServiceCreate ServiceInspect ServiceDelete ServiceUpdate ServiceLogs".split(" "),
  ..."TaskList TaskInspect TaskLogs".split(" "),
  ..."SecretList SecretCreate SecretInspect SecretDelete SecretUpdate".split(" "),
  ..."ConfigList ConfigCreate ConfigInspect ConfigDelete ConfigUpdate".split(" "),
];

/** What dockerd says to who asks for something only a manager of a swarm has. */
export function refuseWithoutSwarm(operation: string): never {
  throw new BerthError("unavailable", NO_MANAGER, { operation });
}

const noManager: Handler = ({ operation }) => refuseWithoutSwarm(operation);

export const swarmHandlers: Handlers = {
  ...Object.fromEntries(managersOnly.map((operation) => [operation, noManager])),
  SwarmLeave({ operation }) {
    throw new BerthError("unavailable", "This node is not part of a swarm", { operation });
  },
};

/** The syscall program of a container's last start, for people (`berth debug program`). */

import type { Container } from "#engine/containers/container.ts";
import { BerthError } from "#errors/errors.ts";
import { compileContainer } from "#runtime/compile-container.ts";
import type { ContainerLaunch } from "#runtime/launch-types.ts";

/** Compiled anew from what the start was given: compiling is pure, and a listing is asked for rarely. */
export function describeProgram(container: Container): string {
  if (container.lastLaunch === undefined) {
    throw new BerthError("not-found", `no program is known for container ${container.record.name}`, {
      operation: "describe program",
      object: container.record.name,
      hint: "it has not been started since the daemon was",
    });
  }
  return compileContainer(container.lastLaunch).program.listing();
}

/**
 * The same launch with messages of its own. As they are made they are slices of what Buffer shares out in pieces of 64 KiB:
 * one that is kept would keep all of its piece, a third of what a running container takes in the daemon's memory.
 */
export function launchToKeep(launch: ContainerLaunch): ContainerLaunch {
  const { host, container, resolver } = launch.sandbox;
  const redirection = resolver?.redirection;
  const messages = [...host, ...container, ...(redirection ? [redirection] : [])];
  const all = new Uint8Array(messages.reduce((sum, { bytes }) => sum + bytes.length, 0));
  let at = 0;
  const own = <T extends { bytes: Uint8Array }>(message: T): T => {
    const bytes = all.subarray(at, at + message.bytes.length);
    bytes.set(message.bytes);
    at += bytes.length;
    return { ...message, bytes };
  };
  return {
    ...launch,
    sandbox: {
      ...launch.sandbox,
      host: host.map(own),
      container: container.map(own),
      ...(resolver && { resolver: { ...resolver, ...(redirection && { redirection: own(redirection) }) } }),
    },
  };
}

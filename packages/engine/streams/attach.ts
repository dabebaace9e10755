/**
 * Joining a client's stream to a container's. The shim frames the output and writes the log; here bytes are only
 * passed on, with the back-pressure of the sockets on both sides.
 */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import type { AttachOptions } from "#engine/engine-types.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { readableLog } from "#engine/launch/log-plan.ts";
import { DetachFilter, parseDetachKeys } from "#engine/streams/detach-keys.ts";
import { destroyWhenGone } from "#engine/streams/hang-up.ts";
import { BerthError } from "#errors/errors.ts";
import { readLog } from "#logs/read-log.ts";
import { foundNobody } from "#program/launcher-client.ts";
import type { AttachStreams } from "#program/launcher-client.types.ts";

/** A shim has sixteen connections besides the one it was launched by (launcher/relay.h); one is for a daemon that comes back. */
const MOST_ATTACHED = 15;

/** Checks, and answers how to go on once the client's connection has been taken over. */
export function attachToContainer(
  context: EngineContext,
  container: Container,
  options: AttachOptions,
): { tty: boolean; connect: (client: Duplex) => Promise<void> } {
  const { config } = container.record;
  const tty = config.Tty ?? false;
  const keys = parseDetachKeys(options.detachKeys);
  if (container.record.state.Paused) {
    throw new BerthError(
      "conflict",
      `Container ${container.id} is paused, unpause the container before attach.`,
      {
        operation: "attach",
        object: container.record.name,
      },
    );
  }
  const streams: AttachStreams = {
    stdin: options.stdin && (config.OpenStdin ?? false),
    stdout: options.stdout,
    stderr: options.stderr,
  };
  if (options.stream && container.attached >= MOST_ATTACHED) {
    const text = `Container ${container.id} has ${MOST_ATTACHED} attached clients already, and no more can be.`;
    const hint = "docker logs -f shows its output to any number of clients";
    throw new BerthError("unavailable", text, { operation: "attach", object: container.record.name, hint });
  }
  // Registered now, not after the hijack: a start that comes right behind must wait for this attach.
  const shim = options.stream ? connectShim(context, container, streams) : undefined;
  if (shim !== undefined) countUntilClosed(container, shim);
  return {
    tty,
    connect: async (client) => {
      publishContainerEvent(context, container, "attach");
      try {
        if (options.logs) await sendLogged(context, container, options, client);
      } catch (error) {
        // Left open and unread it would hold up the container.
        shim?.then((socket) => socket?.destroy()).catch(() => undefined);
        throw error;
      }
      if (shim === undefined) {
        client.end();
        return;
      }
      const socket = await shim;
      if (socket !== undefined) {
        const joined = joinStreams(client, socket, {
          stdin: streams.stdin,
          detachKeys: tty ? keys : undefined,
          onDetach: () => publishContainerEvent(context, container, "detach"),
        });
        container.conversations.add(joined);
        await joined;
        container.conversations.delete(joined);
      }
      client.end();
    },
  };
}

function countUntilClosed(container: Container, shim: Promise<Socket | undefined>): void {
  container.attached++;
  const gone = () => {
    container.attached--;
  };
  shim.then((socket) => {
    if (socket === undefined || socket.destroyed) gone();
    else socket.once("close", gone);
  }, gone);
}

/** A connection to the shim: at once if it runs, else as soon as a start has made one; undefined if that fails. */
function connectShim(
  context: EngineContext,
  container: Container,
  streams: AttachStreams,
): Promise<Socket | undefined> {
  if (container.live !== undefined) return context.launcher.attach(container.live.controlSocket, streams);
  return new Promise((connected, failed) => {
    container.pendingAttaches.add({ streams, connected, failed, abandoned: () => connected(undefined) });
  });
}

/** Connects everybody who attached before the start. Called when the shim listens. */
export async function connectPending(
  context: EngineContext,
  container: Container,
  socket: string,
): Promise<void> {
  const pending = [...container.pendingAttaches];
  container.pendingAttaches.clear();
  await Promise.all(
    pending.map(async (attach) => {
      try {
        attach.connected(await context.launcher.attach(socket, attach.streams));
      } catch (error) {
        // A shim waits for who is expected, unless there is nothing to be had: the start has failed, and says why.
        if (foundNobody(error)) attach.abandoned();
        else attach.failed(error);
      }
    }),
  );
}

/** A start failed, or there will be none: whoever waits for its streams is let go. */
export function abandonPending(container: Container): void {
  for (const attach of container.pendingAttaches) attach.abandoned();
  container.pendingAttaches.clear();
}

export interface JoinOptions {
  stdin: boolean;
  /** Byte sequence that detaches; undefined for none. */
  detachKeys: Buffer | undefined;
  onDetach?: () => void;
}

/**
 * Passes bytes both ways until the shim has said all, the client is gone and its input delivered, or the detach keys were
 * typed. Ending the client's side is the caller's: there may be something to record, or to say, before.
 */
export function joinStreams(client: Duplex, shim: Socket, options: JoinOptions): Promise<void> {
  return new Promise((resolve) => {
    const finish = () => {
      shim.destroy();
      resolve();
    };
    // Either may have gone meanwhile: while the container was being started, or while its log was sent.
    if (client.destroyed || shim.destroyed) {
      finish();
      return;
    }
    shim.pipe(client, { end: false });
    shim.on("error", finish);
    shim.on("close", finish);
    client.on("error", finish);
    client.on("close", () => {
      // What it had said to the end is the container's still; what the container says is nobody's.
      if (!options.stdin || !client.readableEnded || shim.writableFinished) finish();
      else shim.once("finish", finish).resume();
    });
    destroyWhenGone(client);
    if (!options.stdin) {
      client.resume();
    } else if (options.detachKeys === undefined) {
      client.pipe(shim);
    } else {
      const filter = new DetachFilter(options.detachKeys, () => {
        options.onDetach?.();
        shim.unpipe(client);
        finish();
      });
      client.pipe(filter).pipe(shim);
    }
  });
}

async function sendLogged(
  context: EngineContext,
  container: Container,
  options: AttachOptions,
  client: Duplex,
): Promise<void> {
  const log = readLog(
    { ...readableLog(container.record, context.config), ended: Promise.resolve() },
    {
      follow: false,
      stdout: options.stdout,
      stderr: options.stderr,
      since: undefined,
      until: undefined,
      timestamps: false,
      tail: undefined,
      details: false,
      framed: !(container.record.config.Tty ?? false),
    },
    new AbortController().signal,
  );
  for await (const chunk of log) {
    if (client.destroyed) return;
    if (!client.write(chunk)) await drainedOrClosed(client);
  }
}

function drainedOrClosed(client: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      client.off("drain", done);
      client.off("close", done);
      resolve();
    };
    client.on("drain", done);
    client.on("close", done);
  });
}

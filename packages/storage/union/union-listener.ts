/**
 * The socket of berth-union: takes orders, a line of JSON each, and answers them in order.
 *
 * Takes its name so that of several programs started at once one stays, and gives it up when it has nothing to serve and
 * nobody to talk to for a while.
 */
import { chmodSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BerthError } from "#errors/errors.ts";
import { lockFile } from "#kernel/lock-file.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import type { UnionServer } from "#storage/union/union-server.ts";
import type { UnionAnswer, UnionOrder } from "#storage/union/union-types.ts";

/** Between two looks at whether anybody needs it, ms. Two without end it. */
const LOOK = 5000;
/** Characters of one order; the branches of the deepest image are a tenth of it. */
const LONGEST_ORDER = 1 << 20;

/**
 * Listens at a path; false if somebody else does. `idle` is called when nobody needs the program any more, and after that
 * nobody reaches it.
 */
export async function listen(path: string, server: () => UnionServer, idle: () => void): Promise<boolean> {
  // From its directory, so that the length of the path doesn't matter to a socket address.
  process.chdir(dirname(path));
  const name = basename(path);
  using _lock = lockFile(`${name}.lock`);
  if (await answers(name)) return false;
  const unions = server();
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    converse(socket, unions);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject);
    listener.listen({ path: name }, resolve);
  });
  chmodSync(name, 0o600);
  const needed = () => sockets.size > 0 || unions.size > 0;
  leaveWhenIdle(listener, name, needed, () => void unions.leave().then(idle));
  return true;
}

/** Is somebody there? Takes the name away that a program has left that is not. */
async function answers(name: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const probe = connect({ path: name });
  probe.once("connect", () => resolve(true));
  probe.once("error", (error) => {
    if (isErrno(error, "ENOENT")) resolve(false);
    else if (!isErrno(error, "ECONNREFUSED")) reject(error);
    else {
      unlinkSync(name);
      resolve(false);
    }
  });
  try {
    return await promise;
  } finally {
    probe.destroy();
  }
}

function leaveWhenIdle(listener: Server, name: string, needed: () => boolean, idle: () => void): void {
  let looks = 0;
  const timer = setInterval(() => {
    looks = needed() ? 0 : looks + 1;
    if (looks < 2) return;
    clearInterval(timer);
    using _lock = lockFile(`${name}.lock`);
    // Whoever connects from here on finds no name; who did a moment ago is hung up on, and starts another.
    listener.close();
    idle();
  }, LOOK);
}

function converse(socket: Socket, unions: UnionServer): void {
  let input = "";
  let last: Promise<void> = Promise.resolve();
  let gone = false;
  socket.on("end", () => {
    gone = true;
  });
  socket.setEncoding("utf8");
  socket.on("error", () => {
    // "close" says it.
  });
  socket.on("data", (text: string) => {
    const lines = (input + text).split("\n");
    input = lines.pop() as string;
    if (input.length > LONGEST_ORDER) socket.destroy();
    for (const line of lines) {
      last = last.then(async () => {
        // Orders may have lain here for long, and who gave them have gone: then nobody would take back what they do. That is
        // heard a turn after the last data.
        await nextTurn();
        await nextTurn();
        if (gone || socket.destroyed) return;
        const answer = await obey(line, unions);
        socket.write(`${JSON.stringify(answer)}\n`);
      });
    }
  });
}

async function obey(line: string, unions: UnionServer): Promise<UnionAnswer> {
  try {
    const order = JSON.parse(line) as UnionOrder;
    switch (order.order) {
      case "mount":
        await unions.mount(order);
        return { ok: true };
      case "unmount":
        await unions.unmount(order.mountPoint);
        return { ok: true };
      case "list":
        return { ok: true, unions: await unions.list() };
      default:
        return { ok: false, code: "invalid", message: "no such order" };
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code = error instanceof BerthError ? error.code : "internal";
    const known = code === "invalid" || code === "not-found" || code === "conflict" ? code : "internal";
    return { ok: false, code: known, message };
  }
}

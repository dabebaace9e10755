/**
 * Questions to test/fixtures/peer-echo.c from any network namespace. Each is a socket of this process, made within the
 * namespace and then waited for outside of it: so many can be under way at once.
 */
import { execFileSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { connect, isIPv6, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";

/** Where questions are asked: enters the place, does the work, and leaves. */
export type Enter = <T>(work: () => Promise<T>) => Promise<T>;

export type Protocol = "TCP" | "UDP";

/** How long an answer is waited for, ms: a hang gets there, or silence where it is expected. */
const PATIENCE_MS = 60_000;
const SILENCE_MS = 600;
/** A datagram may be lost. */
const AGAIN_MS = 300;

/** Compiles the server into `directory`; answers its path. */
export function makePeerEcho(directory: string): string {
  const source = resolve(import.meta.dirname, "../fixtures/peer-echo.c");
  const program = join(directory, "peer-echo");
  execFileSync("gcc", ["-static", "-O1", "-o", program, source]);
  return program;
}

/** One at a time enters: a thread is in one namespace. */
let entrance: Promise<unknown> = Promise.resolve();

function alone<T>(enter: Enter, work: () => Promise<T>): Promise<T> {
  const turn = entrance.then(() => enter(work));
  entrance = turn.catch(() => {});
  return turn;
}

/**
 * The address that the server at `address` sees; or "refused", "silent", "no route".
 * `expectSilence`: how long to wait is a question of what one waits for.
 */
export async function probe(
  enter: Enter,
  protocol: Protocol,
  address: string,
  port: number,
  expectSilence: boolean,
): Promise<string> {
  const patience = expectSilence ? SILENCE_MS : PATIENCE_MS;
  try {
    const answer = await (protocol === "TCP" ? askTcp : askUdp)(enter, address, port, patience);
    return answer === "" ? "silent" : answer;
  } catch (error) {
    return named(String((error as NodeJS.ErrnoException).code));
  }
}

function named(code: string): string {
  switch (code) {
    case "ECONNREFUSED":
      return "refused";
    case "ENETUNREACH":
    case "EADDRNOTAVAIL":
      return "no route";
    // The neighbour that has the address is not found, after three seconds.
    case "EHOSTUNREACH":
      return "silent";
    default:
      return code;
  }
}

async function askTcp(enter: Enter, address: string, port: number, patience: number): Promise<string> {
  let answer = "";
  const socket: Socket = await alone(enter, async () => {
    const made = connect({ host: address, port });
    made.on("data", (chunk) => {
      answer += chunk;
    });
    made.on("error", () => {});
    // Node makes the socket in the turn after.
    await setImmediate();
    return made;
  });
  const timer = setTimeout(() => socket.destroy(), patience);
  try {
    if (socket.errored) throw socket.errored;
    if (!socket.closed) {
      await new Promise<void>((done, failed) => socket.once("close", () => done()).once("error", failed));
    }
    return answer;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

async function askUdp(enter: Enter, address: string, port: number, patience: number): Promise<string> {
  const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
  try {
    const answered = new Promise<string>((done, failed) => {
      // Connected: nothing comes but from the address that was asked.
      socket.once("message", (message) => done(message.toString())).once("error", failed);
    });
    answered.catch(() => {});
    await alone(enter, async () => {
      await new Promise<void>((done, failed) => {
        socket.once("connect", done).once("error", failed);
        socket.connect(port, address);
      });
    });
    for (const limit = Date.now() + patience; Date.now() < limit; ) {
      socket.send("who am I");
      const answer = await Promise.race([answered, sleep(AGAIN_MS, undefined)]);
      if (answer !== undefined) return answer;
    }
    return "";
  } finally {
    socket.close();
  }
}

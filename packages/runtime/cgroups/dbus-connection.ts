/**
 * A connection to a message bus, or straight to a service that speaks D-Bus without one: calls with their answers, and
 * signals. It does only what asking systemd for a unit needs; it serves nobody.
 */
import { connect, type Socket } from "node:net";
import { BerthError } from "#errors/errors.ts";
import {
  type DbusMessage,
  type DbusValue,
  decodeMessage,
  encodeMessage,
  MESSAGE,
  messageLength,
} from "#runtime/cgroups/dbus-codec.ts";

const BUS = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
};
/** How long an answer may take, as for libraries of other languages: 25 to 30 s. */
const ANSWER_MS = 30_000;

export interface DbusCall {
  destination?: string;
  path: string;
  interface: string;
  member: string;
  signature?: string;
  body?: readonly DbusValue[];
}

/** An answer that is a refusal; `errorName` as "org.freedesktop.systemd1.UnitExists". */
export class DbusError extends BerthError {
  readonly errorName: string;

  constructor(errorName: string, message: string, call: DbusCall) {
    super("internal", message, { operation: `call ${call.member}`, object: call.destination ?? call.path });
    this.errorName = errorName;
  }
}

export class DbusConnection implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #bus: boolean;
  readonly #waiting = new Map<
    number,
    { resolve(body: DbusValue[]): void; reject(error: Error): void; call: DbusCall }
  >();
  readonly #listeners = new Set<(signal: DbusMessage) => void>();
  readonly #failure = Promise.withResolvers<never>();
  #serial = 0;
  #buffer = Buffer.alloc(0);

  private constructor(socket: Socket, bus: boolean) {
    this.#socket = socket;
    this.#bus = bus;
    this.#failure.promise.catch(() => undefined); // heard by those who wait for a signal
  }

  /** Never resolves; rejects when the connection is of no more use. For those who wait for a signal. */
  get failure(): Promise<never> {
    return this.#failure.promise;
  }

  /**
   * Connects and says who we are (the kernel vouches for our user). `bus`: whether a message bus answers, not the
   * service itself. Rejects with what the system says.
   */
  static async open(socketPath: string, { bus = true }: { bus?: boolean } = {}): Promise<DbusConnection> {
    const socket = connect(socketPath);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve).once("error", reject);
    });
    const rest = await authenticate(socket);
    const connection = new DbusConnection(socket, bus);
    socket.on("data", (chunk: Buffer) => connection.#take(chunk));
    socket.on("error", (error) => connection.#fail(error));
    socket.on("close", () => connection.#fail(new Error("the message bus has closed the connection")));
    connection.#take(rest);
    socket.resume();
    if (bus) await connection.call({ ...BUS, member: "Hello" });
    return connection;
  }

  /** Answers the reply's values. Throws DbusError for a refusal. */
  async call(call: DbusCall): Promise<DbusValue[]> {
    const serial = ++this.#serial;
    const { promise, resolve, reject } = Promise.withResolvers<DbusValue[]>();
    this.#waiting.set(serial, { resolve, reject, call });
    const { body = [], ...header } = call;
    this.#socket.write(encodeMessage({ ...header, type: MESSAGE.CALL, serial, body: [...body] }));
    const timer = setTimeout(() => {
      this.#waiting.delete(serial);
      reject(
        new DbusError("org.freedesktop.DBus.Error.NoReply", `no answer to ${call.member} in time`, call),
      );
    }, ANSWER_MS);
    return await promise.finally(() => clearTimeout(timer));
  }

  /** Asks the bus for signals. A service's own socket has all of its signals come anyway, and nobody who would answer. */
  async match(rule: string): Promise<void> {
    if (!this.#bus) return;
    await this.call({ ...BUS, member: "AddMatch", signature: "s", body: [rule] });
  }

  /** Answers how to stop listening. */
  onSignal(listener: (signal: DbusMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.removeAllListeners("close");
    await new Promise<void>((resolve) => this.#socket.end(resolve));
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const length = messageLength(this.#buffer);
      if (length === undefined || this.#buffer.length < length) return;
      const bytes = this.#buffer.subarray(0, length);
      this.#buffer = this.#buffer.subarray(length);
      try {
        this.#receive(decodeMessage(bytes));
      } catch (error) {
        this.#fail(error as Error);
        this.#socket.destroy();
        return;
      }
    }
  }

  #receive(message: DbusMessage): void {
    if (message.type === MESSAGE.SIGNAL) {
      for (const listener of this.#listeners) listener(message);
      return;
    }
    const waiting = this.#waiting.get(message.replySerial ?? 0);
    if (waiting === undefined) return;
    this.#waiting.delete(message.replySerial ?? 0);
    if (message.type === MESSAGE.RETURN) waiting.resolve(message.body);
    else {
      const [text = message.errorName] = message.body;
      waiting.reject(new DbusError(message.errorName ?? "", String(text), waiting.call));
    }
  }

  #fail(error: Error): void {
    this.#failure.reject(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** SASL's EXTERNAL, by the credentials of the socket. Answers what has come behind the last line. */
async function authenticate(socket: Socket): Promise<Buffer> {
  const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString("hex");
  socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
  let heard = Buffer.alloc(0);
  const line = await new Promise<string>((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
      const end = heard.indexOf("\r\n");
      if (end < 0) return;
      const text = heard.toString("latin1", 0, end);
      heard = heard.subarray(end + 2);
      stop();
      resolve(text);
    };
    const onEnd = () => {
      stop();
      reject(new Error("the message bus has closed the connection"));
    };
    const stop = () => void socket.off("data", onData).off("close", onEnd).pause();
    socket.on("data", onData).on("close", onEnd).on("error", reject);
  });
  if (!line.startsWith("OK ")) throw new Error(`the message bus does not know us: ${line}`);
  socket.removeAllListeners("error");
  socket.write("BEGIN\r\n");
  return heard;
}

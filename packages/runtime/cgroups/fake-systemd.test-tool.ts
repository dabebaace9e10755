/**
 * A message bus of its own (Debian's dbus-daemon) with a service on it that answers as systemd does: it notes what it is
 * asked, and ends jobs as told. The bus checks every message that passes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DbusMessage,
  type DbusValue,
  decodeMessage,
  encodeMessage,
  MESSAGE,
  messageLength,
  variant,
} from "#runtime/cgroups/dbus-codec.ts";

const NAME = "org.freedesktop.systemd1";
const PATH = "/org/freedesktop/systemd1";
const BUS = {
  destination: "org.freedesktop.DBus",
  path: "/org/freedesktop/DBus",
  interface: "org.freedesktop.DBus",
};

const CONFIG = (
  socket: string,
) => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_type="method_call"/><allow receive_type="method_return"/>
<allow receive_type="signal"/><allow receive_type="error"/><allow own="*"/><allow user="*"/></policy></busconfig>`;

export interface Asked {
  member: string;
  body: DbusValue[];
}

/** What a call is answered with: a refusal by name, or the result of its job ("never": the job has no end). */
export type Behaviour = (
  call: Asked,
) => { error: string } | { job: string; signalFirst?: boolean } | undefined;

export class FakeSystemd implements AsyncDisposable {
  readonly asked: Asked[] = [];
  behave: Behaviour = () => undefined;
  /** Called when a job is named to who asked for it. */
  onAnswered: () => void = () => undefined;
  readonly address: string;
  readonly #directory: string;
  readonly #daemon: ChildProcess;
  readonly #socket: Socket;
  #serial = 0;
  #jobs = 0;
  #buffer = Buffer.alloc(0);

  private constructor(directory: string, daemon: ChildProcess, socket: Socket) {
    this.#directory = directory;
    this.#daemon = daemon;
    this.#socket = socket;
    this.address = `unix:path=${join(directory, "bus")}`;
    socket.on("data", (chunk) => this.#take(chunk));
    // A bus that is killed before it has read everything resets the connection.
    socket.on("error", () => {});
  }

  static async start(): Promise<FakeSystemd> {
    const directory = mkdtempSync(join(tmpdir(), "berth-cgroups-bus-"));
    const path = join(directory, "bus");
    const config = join(directory, "bus.conf");
    writeFileSync(config, CONFIG(path));
    const daemon = spawn("dbus-daemon", [`--config-file=${config}`, "--nofork", "--print-address"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    await once(daemon.stdout as NodeJS.ReadableStream, "data");
    const socket = connect(path);
    socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(process.getuid?.())).toString("hex")}\r\n`);
    await once(socket, "data");
    socket.write("BEGIN\r\n");
    const fake = new FakeSystemd(directory, daemon, socket);
    fake.#send({ ...BUS, type: MESSAGE.CALL, member: "Hello", body: [] });
    fake.#send({ ...BUS, type: MESSAGE.CALL, member: "RequestName", signature: "su", body: [NAME, 0] });
    await fake.#named;
    return fake;
  }

  /** The bus is gone at once, without a word. */
  vanish(): void {
    this.#daemon.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    if (this.#daemon.exitCode === null && this.#daemon.signalCode === null) {
      this.vanish();
      await once(this.#daemon, "exit");
    }
    rmSync(this.#directory, { recursive: true });
  }

  readonly #naming = Promise.withResolvers<void>();
  get #named(): Promise<void> {
    return this.#naming.promise;
  }

  #send(message: Omit<DbusMessage, "serial">): void {
    this.#socket.write(encodeMessage({ ...message, serial: ++this.#serial }));
  }

  #take(chunk: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, chunk]);
    for (let length = messageLength(this.#buffer); length !== undefined && length <= this.#buffer.length; ) {
      const message = decodeMessage(this.#buffer.subarray(0, length));
      this.#buffer = this.#buffer.subarray(length);
      length = messageLength(this.#buffer);
      if (message.type === MESSAGE.RETURN && message.signature === "u") this.#naming.resolve();
      if (message.type === MESSAGE.CALL) this.#answer(message);
    }
  }

  #answer({ member = "", sender = "", serial, body }: DbusMessage): void {
    const call = { member, body };
    this.asked.push(call);
    const to = { destination: sender, replySerial: serial };
    const behaviour = this.behave(call);
    if (behaviour !== undefined && "error" in behaviour) {
      const errorName = `${NAME}.${behaviour.error}`;
      this.#send({
        ...to,
        type: MESSAGE.ERROR,
        errorName,
        signature: "s",
        body: [`refused: ${behaviour.error}`],
      });
      return;
    }
    if (member === "Get") {
      const value = body[1] === "Version" ? "252.1-1" : "/user.slice/user-7.slice/user@7.service";
      this.#send({ ...to, type: MESSAGE.RETURN, signature: "v", body: [variant("s", value)] });
      return;
    }
    if (member !== "StartTransientUnit" && member !== "StopUnit") {
      this.#send({ ...to, type: MESSAGE.RETURN, body: [] });
      return;
    }
    const job = `${PATH}/job/${++this.#jobs}`;
    const answer = () => {
      this.#send({ ...to, type: MESSAGE.RETURN, signature: "o", body: [job] });
      // What was sent goes through the bus first.
      setTimeout(this.onAnswered, 100);
    };
    const end = () =>
      this.#send({
        path: PATH,
        interface: `${NAME}.Manager`,
        type: MESSAGE.SIGNAL,
        member: "JobRemoved",
        signature: "uoss",
        body: [this.#jobs, job, String(body[0]), behaviour?.job ?? "done"],
      });
    const steps = behaviour?.signalFirst ? [end, answer] : [answer, end];
    for (const step of behaviour?.job === "never" ? [answer] : steps) step();
  }
}

/**
 * Clients that ask over TCP: messages with their length before them, several on one connection, answered as answers come.
 *
 * Runs in the server's thread. Owns the connections; a client gets so many, so many questions at once, and so long.
 */
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { tryAccept, tryReceive, trySend } from "#kernel/nonblocking-sockets.ts";
import { EPOLLIN, EPOLLOUT, type Poller, type Watch } from "#kernel/poller.ts";
import { Deadlines } from "#networks/dns/deadlines.ts";

/** ms without a word before a connection is closed. */
const IDLE = 10_000;
const CONNECTIONS_PER_CONTAINER = 100;
/** Questions of one connection that wait for answers; more are read when one has come. */
const PIPELINE = 32;
const ACCEPTED_AT_ONCE = 32;
/** Bytes of answers a connection does not take, beyond which nothing more is asked for it, and beyond which it is closed. */
const UNTAKEN = 0x10000;
const UNTAKEN_LIMIT = 8 * UNTAKEN;

/** What is done with a message: `answer` is called once, now or later, with one or without (the connection ends). */
export type StreamQuestion = (message: Buffer, answer: (bytes: Uint8Array | undefined) => void) => void;

export class TcpClients {
  readonly #poller: Poller;
  readonly #idle = new Deadlines<Connection>(IDLE, (connection) => connection.close());
  /** What was just received. */
  readonly #buffer = Buffer.from(new ArrayBuffer(0x10000));

  constructor(poller: Poller) {
    this.#poller = poller;
  }

  /** Closes connections nobody says anything on; answers ms until the next. */
  run(now: number): number {
    return this.#idle.run(now);
  }

  /** Serves a listening socket until the result is disposed; the socket itself stays open. */
  serve(listener: number, question: StreamQuestion): Disposable {
    const connections = new Set<Connection>();
    const means: Means = {
      poller: this.#poller,
      idle: this.#idle,
      buffer: this.#buffer,
      question,
      connections,
    };
    const watch = this.#poller.watch(listener, EPOLLIN, () => {
      for (let count = 0; count < ACCEPTED_AT_ONCE; count++) {
        const fd = tryAccept(listener);
        if (fd < 0) return;
        if (connections.size >= CONNECTIONS_PER_CONTAINER) new FileDescriptor(fd).close();
        else connections.add(new Connection(fd, means));
      }
    });
    return {
      [Symbol.dispose]: () => {
        watch.end();
        for (const connection of [...connections]) connection.close();
      },
    };
  }
}

interface Means {
  poller: Poller;
  idle: Deadlines<Connection>;
  buffer: Buffer;
  question: StreamQuestion;
  connections: Set<Connection>;
}

class Connection {
  readonly #fd: FileDescriptor;
  readonly #means: Means;
  readonly #watch: Watch;
  #received: Buffer = Buffer.alloc(0);
  #toSend: Buffer = Buffer.alloc(0);
  #waiting = 0;
  #ended = false;
  #reading = false;

  constructor(fd: number, means: Means) {
    this.#fd = new FileDescriptor(fd);
    this.#means = means;
    this.#watch = means.poller.watch(fd, EPOLLIN, (events) => this.#ready(events));
    means.idle.begin(this, performance.now());
  }

  close(): void {
    if (!this.#fd.isOpen) return;
    this.#watch.end();
    this.#means.idle.end(this);
    this.#means.connections.delete(this);
    this.#fd.close();
  }

  #ready(events: number): void {
    if ((events & EPOLLOUT) !== 0) {
      this.#flush();
      // Questions may lie here that were left until there was room for their answers.
      if (this.#fd.isOpen) this.#ask();
    }
    if (this.#fd.isOpen && (events & ~EPOLLOUT) !== 0) this.#read();
    this.#settle();
  }

  #read(): void {
    const { buffer } = this.#means;
    const length = tryReceive(this.#fd.number, buffer);
    if (length === -ERRNO.EAGAIN) return;
    if (length < 0) {
      this.close();
      return;
    }
    if (length === 0) this.#ended = true;
    else this.#received = Buffer.concat([this.#received, buffer.subarray(0, length)]);
    this.#means.idle.begin(this, performance.now());
    this.#ask();
  }

  #ask(): void {
    if (this.#reading) return;
    this.#reading = true;
    while (this.#fd.isOpen && this.#mayAsk && this.#received.length >= 2) {
      const end = 2 + this.#received.readUInt16BE(0);
      if (this.#received.length < end) break;
      const message = this.#received.subarray(2, end);
      this.#received = this.#received.subarray(end);
      this.#waiting++;
      this.#means.question(message, (answer) => this.#answer(answer));
    }
    this.#reading = false;
  }

  get #mayAsk(): boolean {
    return this.#waiting < PIPELINE && this.#toSend.length < UNTAKEN;
  }

  #answer(answer: Uint8Array | undefined): void {
    this.#waiting--;
    if (!this.#fd.isOpen) return;
    if (answer === undefined || this.#toSend.length > UNTAKEN_LIMIT) {
      this.close();
      return;
    }
    const length = Buffer.alloc(2);
    length.writeUInt16BE(answer.length, 0);
    this.#toSend = Buffer.concat([this.#toSend, length, answer]);
    this.#means.idle.begin(this, performance.now());
    this.#flush();
    if (this.#fd.isOpen) this.#ask();
    if (!this.#reading) this.#settle();
  }

  #flush(): void {
    if (this.#toSend.length === 0) return;
    const sent = trySend(this.#fd.number, this.#toSend);
    if (sent >= 0) this.#toSend = this.#toSend.subarray(sent);
    else if (sent !== -ERRNO.EAGAIN) this.close();
  }

  /** Closes what is through, and watches for what can go on. */
  #settle(): void {
    if (!this.#fd.isOpen) return;
    const sending = this.#toSend.length > 0;
    if (this.#ended && this.#waiting === 0 && !sending) {
      this.close();
      return;
    }
    const reading = !this.#ended && !sending && this.#waiting < PIPELINE;
    this.#watch.want((reading ? EPOLLIN : 0) | (sending ? EPOLLOUT : 0));
  }
}

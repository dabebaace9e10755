/**
 * Questions that are not about containers, asked of other servers: one after the other until one answers, each from a
 * socket of its own with a port and an id nobody can guess.
 *
 * Runs in the server's thread. Owns the sockets of what is under way; says once for each question how it ended.
 */
import { randomFillSync } from "node:crypto";
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import {
  connectionError,
  encodeInternetAddress,
  socketFor,
  tryConnect,
  tryReceive,
  trySend,
} from "#kernel/nonblocking-sockets.ts";
import { EPOLLIN, EPOLLOUT, type Poller, type Watch } from "#kernel/poller.ts";
import { descriptorLimit } from "#kernel/process-limits.ts";
import { SOCK_DGRAM, SOCK_STREAM } from "#kernel/socket-syscalls.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { inNetwork, networkOfSocket } from "#kernel/thread-network.ts";
import { RCODE } from "#networks/dns/answer.ts";
import type { UpstreamServer } from "#networks/dns/container-names.ts";
import { Deadlines } from "#networks/dns/deadlines.ts";
import { FLAG_RESPONSE, HEADER_SIZE } from "#networks/dns/query.ts";

const DNS_PORT = 53;
/** How many servers are tried, and for how long each, ms: within the five seconds a client's own patience lasts. */
const SERVERS = 3;
const PATIENCE = 2_000;
/** Questions under way of one container. */
const PER_CLIENT = 1024;
/** Of all together, and the part of the process's descriptors that they may take: a socket each. */
const TOGETHER = 4096;
const DESCRIPTOR_SHARE = 8;
/** Length and message over TCP. */
const STREAM_LIMIT = 2 + 0xffff;

/** Whose questions are forwarded. */
export class ForwardingClient {
  /** A socket of the container's, which tells its namespace. */
  readonly #socket: number;
  #namespace: FileDescriptor | undefined;
  readonly exchanges = new Set<Exchange>();

  constructor(socket: number) {
    this.#socket = socket;
  }

  /** Makes a socket where the server is to be asked from. */
  open(server: UpstreamServer, address: Uint8Array, type: number): number {
    if (server.fromHost) return socketFor(address, type);
    this.#namespace ??= new FileDescriptor(networkOfSocket(this.#socket));
    return inNetwork(this.#namespace.number, () => socketFor(address, type));
  }

  close(): void {
    for (const exchange of [...this.exchanges]) exchange.abandon();
    this.#namespace?.close();
    this.#namespace = undefined;
  }
}

export interface ForwardedQuestion {
  /** The whole message; its own copy. */
  message: Buffer;
  /** Length of header and question. */
  questionEnd: number;
  overTcp: boolean;
  servers: readonly UpstreamServer[];
  /** Called once. The answer carries the question's id and lies in memory that is used again; undefined for none. */
  respond(answer: Buffer | undefined): void;
}

export class Forwarder {
  readonly #poller: Poller;
  readonly #together: number;
  readonly #clients = new Set<ForwardingClient>();
  readonly #deadlines = new Deadlines<Exchange>(PATIENCE, (exchange) => exchange.next());
  /** What a server answers; copied or passed on before the next is read. */
  readonly #buffer = Buffer.from(new ArrayBuffer(0x10000));
  readonly #ids = Buffer.alloc(1024);
  #idsUsed = this.#ids.length;
  #count = 0;

  /** `together`: how many questions may be under way. */
  constructor(poller: Poller, together = mostTogether()) {
    this.#poller = poller;
    this.#together = together;
  }

  /** Where there is no room, who has most under way loses its oldest: nobody's questions keep others from asking. */
  forward(client: ForwardingClient, question: ForwardedQuestion): void {
    if (client.exchanges.size >= PER_CLIENT || !this.#hasRoom(client)) {
      question.respond(undefined);
      return;
    }
    this.#count++;
    this.#clients.add(client);
    const exchange = new Exchange(client, question, {
      poller: this.#poller,
      deadlines: this.#deadlines,
      buffer: this.#buffer,
      newId: () => this.#newId(),
      ended: () => {
        this.#count--;
        if (client.exchanges.size === 0) this.#clients.delete(client);
      },
    });
    exchange.next();
  }

  /** Gives up what is late; answers ms until the next. */
  run(now: number): number {
    return this.#deadlines.run(now);
  }

  #hasRoom(client: ForwardingClient): boolean {
    if (this.#count < this.#together) return true;
    let greediest = client;
    for (const other of this.#clients) {
      if (other.exchanges.size > greediest.exchanges.size) greediest = other;
    }
    // One question more, and it would be the other's turn to complain.
    if (greediest.exchanges.size <= client.exchanges.size + 1) return false;
    const [oldest] = greediest.exchanges;
    oldest?.giveUp();
    return true;
  }

  #newId(): number {
    if (this.#idsUsed >= this.#ids.length) {
      randomFillSync(this.#ids);
      this.#idsUsed = 0;
    }
    const id = this.#ids.readUInt16LE(this.#idsUsed);
    this.#idsUsed += 2;
    return id;
  }
}

function mostTogether(): number {
  return Math.min(TOGETHER, Math.floor(descriptorLimit() / DESCRIPTOR_SHARE));
}

interface Means {
  poller: Poller;
  deadlines: Deadlines<Exchange>;
  buffer: Buffer;
  newId(): number;
  ended(): void;
}

/** One question on its way through the servers. */
class Exchange {
  readonly #client: ForwardingClient;
  readonly #question: ForwardedQuestion;
  readonly #means: Means;
  readonly #clientId: number;
  #id = 0;
  #servers: UpstreamServer[];
  #socket = -1;
  #watch: Watch | undefined;
  /** TCP: what has come so far. */
  #received: Buffer | undefined;
  #connected = false;
  /** An answer that another server may have a better one for. */
  #refusal: Buffer | undefined;

  constructor(client: ForwardingClient, question: ForwardedQuestion, means: Means) {
    this.#client = client;
    this.#question = question;
    this.#means = means;
    this.#clientId = question.message.readUInt16BE(0);
    this.#servers = question.servers.slice(0, SERVERS);
    client.exchanges.add(this);
  }

  /** Asks the next server, or gives up when there is none. */
  next(): void {
    this.#close();
    for (;;) {
      const server = this.#servers.shift();
      if (server === undefined) {
        this.#finish(this.#refusal);
        return;
      }
      try {
        if (this.#ask(server)) return;
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
      }
      this.#close();
    }
  }

  /** Others have to ask, too. */
  giveUp(): void {
    this.#finish(this.#refusal);
  }

  /** Ends it unanswered: nobody is there any more to be answered. */
  abandon(): void {
    this.#close();
    this.#client.exchanges.delete(this);
    this.#means.ended();
  }

  #finish(answer: Buffer | undefined): void {
    this.abandon();
    answer?.writeUInt16BE(this.#clientId, 0);
    this.#question.respond(answer);
  }

  #close(): void {
    if (this.#socket < 0) return;
    this.#watch?.end();
    this.#means.deadlines.end(this);
    new FileDescriptor(this.#socket).close();
    this.#socket = -1;
    this.#connected = false;
    this.#received = undefined;
  }

  #ask(server: UpstreamServer): boolean {
    const { overTcp, message } = this.#question;
    const address = encodeInternetAddress(server.address, DNS_PORT);
    this.#socket = this.#client.open(server, address, overTcp ? SOCK_STREAM : SOCK_DGRAM);
    const connecting = tryConnect(this.#socket, address);
    if (connecting < 0 && connecting !== -ERRNO.EINPROGRESS) return false;
    this.#id = this.#means.newId();
    message.writeUInt16BE(this.#id, 0);
    if (!overTcp && trySend(this.#socket, message) < 0) return false;
    const events = overTcp ? EPOLLOUT : EPOLLIN;
    this.#watch = this.#means.poller.watch(this.#socket, events, () => this.#ready());
    this.#means.deadlines.begin(this, performance.now());
    return true;
  }

  #ready(): void {
    if (!this.#question.overTcp) this.#readDatagrams();
    else if (this.#connected) this.#readStream();
    else this.#sendStream();
  }

  #readDatagrams(): void {
    const { buffer } = this.#means;
    for (;;) {
      const length = tryReceive(this.#socket, buffer);
      if (length === -ERRNO.EAGAIN) return;
      if (length < 0) {
        this.next();
        return;
      }
      const answer = buffer.subarray(0, length);
      if (!this.#isAnswer(answer)) continue;
      this.#take(answer);
      return;
    }
  }

  #sendStream(): void {
    const { message } = this.#question;
    const framed = Buffer.allocUnsafe(2 + message.length);
    framed.writeUInt16BE(message.length, 0);
    message.copy(framed, 2);
    // A new connection takes a question whole, or it is none.
    if (connectionError(this.#socket) !== 0 || trySend(this.#socket, framed) < framed.length) {
      this.next();
      return;
    }
    this.#connected = true;
    this.#watch?.want(EPOLLIN);
  }

  #readStream(): void {
    const { buffer } = this.#means;
    const length = tryReceive(this.#socket, buffer);
    if (length === -ERRNO.EAGAIN) return;
    const received = Buffer.concat([
      this.#received ?? Buffer.alloc(0),
      buffer.subarray(0, Math.max(0, length)),
    ]);
    this.#received = received;
    const wanted = received.length < 2 ? STREAM_LIMIT : 2 + received.readUInt16BE(0);
    if (received.length >= wanted) {
      const answer = received.subarray(2, wanted);
      if (this.#isAnswer(answer)) this.#take(answer);
      else this.next();
    } else if (length <= 0) this.next();
  }

  #take(answer: Buffer): void {
    const rcode = answer.readUInt16BE(2) & 0xf;
    const final = rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN || this.#servers.length === 0;
    if (final) {
      this.#finish(answer);
      return;
    }
    this.#refusal = Buffer.from(answer);
    this.next();
  }

  /** Is this what was asked for, by the one who was asked? Anything else is somebody's guess. */
  #isAnswer(answer: Buffer): boolean {
    const { message, questionEnd } = this.#question;
    if (answer.length < HEADER_SIZE || answer.readUInt16BE(0) !== this.#id) return false;
    if ((answer.readUInt16BE(2) & FLAG_RESPONSE) === 0) return false;
    // Who did not understand the question need not repeat it.
    if (answer.readUInt16BE(4) === 0) return (answer.readUInt16BE(2) & 0xf) !== RCODE.NOERROR;
    if (answer.length < questionEnd) return false;
    const asked = message.toString("latin1", HEADER_SIZE, questionEnd).toLowerCase();
    return answer.toString("latin1", HEADER_SIZE, questionEnd).toLowerCase() === asked;
  }
}

/**
 * The DNS server of all containers on user-defined networks: answers what is about containers, forwards the rest.
 *
 * Runs in a thread of its own that does nothing else: everything here is synchronous, and waits in one place. Owns its
 * copies of the containers' sockets; the shims have their own, so that questions wait for the next daemon when this one
 * goes.
 */
import { isIP } from "node:net";
import { DatagramBatch } from "#kernel/datagram-batch.ts";
import type { FileDescriptor } from "#kernel/fd.ts";
import { trySend } from "#kernel/nonblocking-sockets.ts";
import { EPOLLIN, Poller } from "#kernel/poller.ts";
import { RCODE, writeAnswer } from "#networks/dns/answer.ts";
import type { ContainerNames } from "#networks/dns/container-names.ts";
import { Forwarder, ForwardingClient } from "#networks/dns/forwarder.ts";
import { NameTable } from "#networks/dns/name-table.ts";
import { CLASS_ANY, CLASS_IN, Query, TYPE } from "#networks/dns/query.ts";
import type { ResolverSockets } from "#networks/dns/resolver-sockets.ts";
import { TcpClients } from "#networks/dns/tcp-clients.ts";

/** Questions read at once, and the room for each and its answer: what EDNS clients ask for at most. */
const BATCH = 64;
const DATAGRAM_SIZE = 4096;
const MESSAGE_LIMIT = 0xffff;
/** Batches of one socket before the others get their turn. */
const ROUNDS = 4;
/**
 * From so many questions in one turn on, the next turn lets some more come first: ms. What a question costs is mostly the
 * waking of who waits for it, on either side; a flood that is answered in pieces of one or two is answered more slowly.
 */
const FLOOD = 8;
const GATHERING = 0.1;

/** What becomes of a message: an answer of so many bytes, none at all, or somebody else's. */
const NONE = 0;
const FORWARD = -1;

interface Served {
  containerId: string;
  udp: FileDescriptor;
  forwarding: ForwardingClient;
  stop(): void;
}

export class NameServer implements Disposable {
  readonly #poller = new Poller();
  readonly #names = new NameTable();
  readonly #forwarder = new Forwarder(this.#poller);
  readonly #tcpClients = new TcpClients(this.#poller);
  readonly #served = new Map<string, Served>();
  readonly #batch = new DatagramBatch(BATCH, DATAGRAM_SIZE);
  readonly #query = new Query();
  readonly #long = Buffer.alloc(MESSAGE_LIMIT);
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));
  /** Questions that came as datagrams in this turn. */
  #questions = 0;

  get poller(): Poller {
    return this.#poller;
  }

  setNames(names: ContainerNames): void {
    // What the host's resolv.conf or a request has for a server need not be an address.
    const upstream = names.upstream.filter(({ address }) => isIP(address) !== 0);
    this.#names.set({ ...names, upstream });
  }

  /** Serves the container's sockets from now on. Takes them over: where that cannot be, they are closed. */
  serve(containerId: string, { udp, tcp }: ResolverSockets): void {
    using made = new DisposableStack();
    made.use(tcp);
    made.use(udp);
    this.#stop(containerId);
    const forwarding = new ForwardingClient(udp.number);
    made.defer(() => forwarding.close());
    const served: Served = { containerId, udp, forwarding, stop: () => undefined };
    const watch = this.#poller.watch(udp.number, EPOLLIN, () => this.#readDatagrams(served));
    made.defer(() => watch.end());
    made.use(
      this.#tcpClients.serve(tcp.number, (message, answer) => this.#askedByTcp(served, message, answer)),
    );
    const kept = made.move();
    served.stop = () => kept.dispose();
    this.#served.set(containerId, served);
  }

  /** The container is gone, and its names with it. */
  forget(containerId: string): void {
    this.#names.delete(containerId);
    this.#stop(containerId);
  }

  #stop(containerId: string): void {
    this.#served.get(containerId)?.stop();
    this.#served.delete(containerId);
  }

  /** Waits for something to do and does it. */
  turn(): void {
    if (this.#questions >= FLOOD) Atomics.wait(this.#pause, 0, 0, GATHERING);
    this.#questions = 0;
    const now = performance.now();
    const first = this.#forwarder.run(now);
    const second = this.#tcpClients.run(now);
    this.#poller.poll(first < 0 || second < 0 ? Math.max(first, second) : Math.min(first, second));
  }

  [Symbol.dispose](): void {
    for (const id of [...this.#served.keys()]) this.#stop(id);
    this.#poller[Symbol.dispose]();
  }

  #readDatagrams(served: Served): void {
    const batch = this.#batch;
    const fd = served.udp.number;
    for (let round = 0; round < ROUNDS; round++) {
      const count = batch.receive(fd);
      this.#questions += count;
      for (let index = 0; index < count; index++) {
        const from = index * DATAGRAM_SIZE;
        const length = batch.length(index);
        const reading = this.#query.read(batch.incoming, from, length);
        const limit = Math.min(this.#query.size, DATAGRAM_SIZE);
        const answer = this.#decide(served, reading, batch.incoming, from, batch.outgoing, batch.room, limit);
        if (answer > 0) batch.answer(index, answer);
        else if (answer === FORWARD) this.#forwardDatagram(served, batch, index, length);
      }
      batch.send(fd);
      if (count < BATCH) return;
    }
  }

  #forwardDatagram(served: Served, batch: DatagramBatch, index: number, length: number): void {
    const from = index * DATAGRAM_SIZE;
    const message = Buffer.from(batch.incoming.subarray(from, from + length));
    const sender = batch.sender(index);
    this.#forward(served, message, false, (answer) => {
      // A client that does not take it now asks again.
      trySend(served.udp.number, answer, sender);
    });
  }

  #askedByTcp(served: Served, message: Buffer, answer: (bytes: Uint8Array | undefined) => void): void {
    const out = this.#long;
    const reading = this.#query.read(message, 0, message.length);
    const length = this.#decide(served, reading, message, 0, out, 0, MESSAGE_LIMIT);
    if (length === FORWARD) this.#forward(served, Buffer.from(message), true, answer);
    else answer(length === NONE ? undefined : out.subarray(0, length));
  }

  /** Asks the container's servers. Whatever comes of it, there is an answer. */
  #forward(served: Served, message: Buffer, overTcp: boolean, answer: (bytes: Buffer) => void): void {
    const questionEnd = this.#query.end;
    const servers = this.#names.get(served.containerId)?.upstream ?? [];
    const own = Buffer.from(message);
    this.#forwarder.forward(served.forwarding, {
      message,
      questionEnd,
      overTcp,
      servers,
      respond: (response) => {
        if (response !== undefined) answer(response);
        else answer(this.#failure(own));
      },
    });
  }

  /** SERVFAIL to a question that was read before. */
  #failure(question: Buffer): Buffer {
    const query = new Query();
    query.read(question, 0, question.length);
    const out = Buffer.alloc(question.length + 512);
    return out.subarray(0, writeAnswer(out, 0, out.length, query, question, 0, RCODE.SERVFAIL));
  }

  /** Writes the answer to the question just read, if it is for us to answer. */
  #decide(
    served: Served,
    reading: ReturnType<Query["read"]>,
    question: Buffer,
    from: number,
    out: Buffer,
    at: number,
    limit: number,
  ): number {
    const query = this.#query;
    const refuse = (rcode: number) => writeAnswer(out, at, limit, query, question, from, rcode);
    if (reading === "ignore") return NONE;
    if (reading !== "ok") return refuse(reading === "unknown" ? RCODE.NOTIMP : RCODE.FORMERR);
    const { name } = query;
    const { containerId } = served;
    if (name !== undefined && (query.class === CLASS_IN || query.class === CLASS_ANY)) {
      if (query.type === TYPE.PTR) {
        const record = this.#names.findReverse(containerId, name);
        if (record !== undefined) {
          return writeAnswer(out, at, limit, query, question, from, RCODE.NOERROR, [record]);
        }
      }
      const entry = this.#names.find(containerId, name);
      if (entry !== undefined) {
        const set = entry.ofType(query.type);
        const { NOERROR } = RCODE;
        return writeAnswer(out, at, limit, query, question, from, NOERROR, set.records, set.next());
      }
    }
    const asker = this.#names.get(containerId);
    if (asker === undefined || asker.isInternal) return refuse(RCODE.NXDOMAIN);
    if (asker.keepsShortNames && name !== undefined && !name.includes(".") && name !== "") {
      return refuse(RCODE.NXDOMAIN);
    }
    return FORWARD;
  }
}

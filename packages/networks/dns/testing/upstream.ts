/**
 * A name server for tests, over UDP and TCP on port 53 of one address: what it answers depends on the name alone.
 *
 *   silent.…   nothing           fail.…   SERVFAIL      lost.…  NXDOMAIN
 *   big.…      by UDP an answer cut short, by TCP a hundred addresses
 *   edns.…     an address whose last byte tells whether EDNS came along
 *   forged.…   first answers to other questions and with other ids, then the true one
 *   anything else, the address given
 *
 * As a program: `node upstream.ts ADDRESS=ANSWER…` with "silent" for ANSWER to say nothing; prints "ready".
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { RCODE, type RecordData, writeAnswer } from "#networks/dns/answer.ts";
import { Query, TYPE } from "#networks/dns/query.ts";

/** Answers the messages to be sent for a question, in this order. */
function answers(message: Buffer, overTcp: boolean, address: string): Buffer[] {
  const query = new Query();
  if (query.read(message, 0, message.length) !== "ok" || address === "silent") return [];
  const record = (last?: number): RecordData => {
    const bytes = address.split(".").map(Number);
    return { type: TYPE.A, data: Uint8Array.from(last === undefined ? bytes : [...bytes.slice(0, 3), last]) };
  };
  const say = (rcode: number, records: RecordData[] = []): Buffer => {
    const out = Buffer.alloc(4096);
    const limit = overTcp ? 4096 : query.size;
    return out.subarray(0, writeAnswer(out, 0, limit, query, message, 0, rcode, records));
  };
  switch (query.name?.split(".")[0]) {
    case "silent":
      return [];
    case "fail":
      return [say(RCODE.SERVFAIL)];
    case "lost":
      return [say(RCODE.NXDOMAIN)];
    case "big":
      return [
        say(
          RCODE.NOERROR,
          Array.from({ length: 100 }, (_, index) => record(index)),
        ),
      ];
    case "edns":
      return [say(RCODE.NOERROR, [record(query.edns ? 1 : 0)])];
    case "forged": {
      const otherId = say(RCODE.NOERROR, [record(66)]);
      otherId.writeUInt16BE((query.id + 1) & 0xffff, 0);
      const otherName = Buffer.from(say(RCODE.NOERROR, [record(67)]));
      otherName[13] = "x".charCodeAt(0);
      return [otherId, otherName, say(RCODE.NOERROR, [record()])];
    }
    default:
      return [say(RCODE.NOERROR, [record()])];
  }
}

/** Serves until disposed. `asked` is told every name. */
export async function startUpstream(
  on: string,
  answer: string,
  asked: (name: string) => void = () => {},
): Promise<AsyncDisposable> {
  const tell = (message: Buffer) => {
    const query = new Query();
    if (query.read(message, 0, message.length) === "ok") asked(query.name ?? "");
  };
  const udp = createSocket("udp4");
  udp.on("message", (message, from) => {
    tell(message);
    for (const bytes of answers(message, false, answer)) udp.send(bytes, from.port, from.address);
  });
  const tcp = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", (bytes: Buffer) => {
      // A test's question comes in one piece.
      const message = bytes.subarray(2);
      tell(message);
      for (const reply of answers(message, true, answer)) {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(reply.length, 0);
        socket.write(length);
        socket.write(reply);
      }
    });
  });
  await Promise.all([
    new Promise<void>((resolve, reject) => udp.once("error", reject).bind(53, on, resolve)),
    new Promise<void>((resolve, reject) => tcp.once("error", reject).listen(53, on, resolve)),
  ]);
  return {
    async [Symbol.asyncDispose]() {
      udp.close();
      await new Promise((resolve) => tcp.close(resolve));
    },
  };
}

if (import.meta.main) {
  for (const argument of process.argv.slice(2)) {
    const [on = "", answer = ""] = argument.split("=");
    await startUpstream(on, answer, (name) => console.log(`${on} ${name}`));
  }
  console.log("ready");
}

/** Clients that ask over TCP and do not take the answers. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { FileDescriptor } from "#kernel/fd.ts";
import { encodeInternetAddress, socketFor } from "#kernel/nonblocking-sockets.ts";
import { Poller } from "#kernel/poller.ts";
import { bind, getsockname, listen, SOCK_STREAM } from "#kernel/socket-syscalls.ts";
import { TcpClients } from "#networks/dns/tcp-clients.ts";

const QUESTIONS = 4000;
const ANSWER = Buffer.alloc(32 * 1024);

test("questions wait with their client until it takes the answers, and all are answered then", async () => {
  using poller = new Poller();
  const address = encodeInternetAddress("127.0.0.1", 0);
  using listener = new FileDescriptor(socketFor(address, SOCK_STREAM));
  bind(listener.number, address);
  listen(listener.number, 1);
  const clients = new TcpClients(poller);
  let asked = 0;
  using _served = clients.serve(listener.number, (_message, answer) => {
    asked++;
    answer(ANSWER);
  });
  const port = getsockname(listener.number).readUInt16BE(2);
  const client = connect(port, "127.0.0.1");
  try {
    client.pause();
    // Twelve bytes each, which fit into what is read at once.
    client.write(
      Buffer.concat(Array.from({ length: QUESTIONS }, () => Buffer.from([0, 10, ...Buffer.alloc(10)]))),
    );
    const quiet = async () => {
      for (let turns = 0, before = -1; turns < 50; turns++) {
        if (asked !== before) turns = 0;
        before = asked;
        poller.poll(1);
        await nextTurn();
      }
    };
    await quiet();
    const most = (32 << 20) / ANSWER.length;
    assert.ok(asked > 0 && asked < most, `${asked} answers were made for a client that takes none`);
    let taken = 0;
    client.on("data", (chunk: Buffer) => {
      taken += chunk.length;
    });
    client.resume();
    const all = QUESTIONS * (2 + ANSWER.length);
    while (taken < all) {
      poller.poll(1);
      await nextTurn();
    }
    assert.deepEqual([asked, taken], [QUESTIONS, all]);
  } finally {
    client.destroy();
  }
});

/** Shares of what may be under way: nobody answers here, and nothing is waited for. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Poller } from "#kernel/poller.ts";
import { Forwarder, ForwardingClient } from "#networks/dns/forwarder.ts";

const TOGETHER = 16;
const NO_SOCKET = -1;
const servers = [{ address: "127.0.0.1", fromHost: true }];

test("who asks much leaves room for who asks little", () => {
  using poller = new Poller();
  const forwarder = new Forwarder(poller, TOGETHER);
  const refused: string[] = [];
  const ask = (client: ForwardingClient, name: string) => {
    const message = Buffer.alloc(32);
    const respond = () => void refused.push(name);
    forwarder.forward(client, { message, questionEnd: 32, overTcp: false, servers, respond });
  };
  const greedy = new ForwardingClient(NO_SOCKET);
  const modest = new ForwardingClient(NO_SOCKET);
  const late = new ForwardingClient(NO_SOCKET);
  try {
    for (let n = 0; n <= TOGETHER; n++) ask(greedy, `greedy ${n}`);
    assert.deepEqual(refused.splice(0), [`greedy ${TOGETHER}`]);
    ask(modest, "modest");
    // The one that has waited longest.
    assert.deepEqual(refused.splice(0), ["greedy 0"]);
    assert.equal(modest.exchanges.size, 1);
    for (let n = 0; n < TOGETHER; n++) ask(late, `late ${n}`);
    const sizes = () => [greedy, modest, late].map(({ exchanges }) => exchanges.size);
    assert.deepEqual(sizes(), [8, 1, 7]);
    // What one gives back is anybody's.
    greedy.close();
    refused.length = 0;
    for (let n = 0; n < TOGETHER / 2; n++) ask(late, `later ${n}`);
    assert.deepEqual([sizes(), refused], [[0, 1, 15], []]);
  } finally {
    for (const client of [greedy, modest, late]) client.close();
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  parseInterfaceCounters,
  parseProcessorTime,
  readOomKillsOfHost,
  readProcessorTime,
} from "#kernel/proc-counters.ts";

test("processor time is of seven columns of the first line; processors are counted by theirs", () => {
  const text =
    "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\nctxt 6\n";
  assert.deepEqual(parseProcessorTime(text), { total: 280_000_000, count: 2 });
  const now = readProcessorTime();
  assert.ok(now.total > 0 && now.count >= 1);
});

test("interfaces are told but for the loopback, names with colons too", () => {
  const text = [
    "Inter-|   Receive                                                |  Transmit",
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed",
    "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0",
    "  eth0:1234567890 22 3 4 5 6 7 8 9876543210 33 1 2 0 0 0 0",
    "eth1:7: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0",
    "",
  ].join("\n");
  const [first, second, ...rest] = parseInterfaceCounters(text);
  assert.deepEqual(first, {
    Name: "eth0",
    RxBytes: 1_234_567_890,
    RxPackets: 22,
    RxErrors: 3,
    RxDropped: 4,
    TxBytes: 9_876_543_210,
    TxPackets: 33,
    TxErrors: 1,
    TxDropped: 2,
  });
  assert.deepEqual([second?.Name, second?.RxBytes, second?.TxBytes], ["eth1:7", 1, 3]);
  assert.deepEqual(rest, []);
});

test("the machine counts its out-of-memory kills", () => {
  assert.ok(Number.isInteger(readOomKillsOfHost()));
});

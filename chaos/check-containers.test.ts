/** The look at containers finds what it is there to find. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkContainers } from "./check-containers.ts";
import type { Clients } from "./clients.ts";
import { type ChaosContainer, Ledger } from "./ledger.ts";

interface Told {
  id: string;
  name: string;
  status: string;
  exit?: number;
  pid?: number;
  log?: string;
  address?: string;
}

/** A daemon that tells this. */
function telling(list: Told[]): Clients {
  const one = (path: string) => list.find(({ id }) => path.includes(id));
  const get = async (path: string): Promise<unknown> => {
    if (path.startsWith("/containers/json")) {
      return list.map(({ id, name, status, address = "" }) => ({
        Id: id,
        Names: [`/${name}`],
        State: status,
        Ports: [],
        NetworkSettings: { Networks: { bridge: { IPAddress: address } } },
      }));
    }
    const { status = "", exit = 0, pid = 0 } = one(path) ?? {};
    const State = {
      Status: status,
      Running: status === "running",
      ExitCode: exit,
      Pid: pid,
      StartedAt: "then",
    };
    return { State: { ...State, Error: "", OOMKilled: false }, RestartCount: 0 };
  };
  const ask = async (_: string, path: string) => {
    const body = path.includes("/logs?") ? (one(path)?.log ?? "") : JSON.stringify(await get(path));
    return { status: 200, body };
  };
  return { get, ask } as unknown as Clients;
}

function known(container: Partial<ChaosContainer>): ChaosContainer {
  const planned = new Ledger().plan({ kind: "counting", lines: 3, code: 7, life: "running", busy: false });
  return Object.assign(planned, { id: "1", name: "one" }, container);
}

async function violations(
  containers: ChaosContainer[],
  told: Told[],
  ends: [string, number[]][] = told.map(({ id, exit = 0 }) => [id, [exit]]),
): Promise<string[]> {
  const found: string[] = [];
  const ledger = new Ledger();
  for (const container of containers) ledger.containers.set(container.name, container);
  const violation = (text: string) => found.push(text);
  await checkContainers({ clients: telling(told), ledger, ends: new Map(ends), patience: 0, violation });
  return found;
}

const own = process.pid;
const lines = (...numbers: number[]) => numbers.map((number) => `line ${number}\n`).join("");
const running: Told = { id: "1", name: "one", status: "running", pid: own };
const ended: Told = { id: "1", name: "one", status: "exited", exit: 7, log: lines(0, 1, 2) };

test("what is as it was left is no violation", async () => {
  assert.deepEqual(await violations([known({})], [running]), []);
  assert.deepEqual(await violations([known({})], [ended]), []);
  const asked = known({ life: "told to end" });
  assert.deepEqual(await violations([asked], [{ ...ended, exit: 137, log: lines(0) }]), []);
  assert.deepEqual(await violations([known({ doubt: true, life: "created" })], [running]), []);
  assert.deepEqual(await violations([known({ doubt: true })], []), []);
});

const wrong: [string, ChaosContainer[], Told[], RegExp][] = [
  ["one that is gone", [known({})], [], /one is gone/],
  ["one that nobody asked for", [], [running], /never asked for/],
  ["one that died", [known({})], [{ ...ended, exit: 137 }], /should end with 7/],
  ["a code that changed", [known({ life: "ended" })], [{ ...ended, exit: 8 }], /should end with 7/],
  ["a second start", [known({ process: { pid: 1, startedAt: "then" } })], [running], /started again/],
  ["a process that is gone", [known({})], [{ ...running, pid: 4_194_305 }], /process is gone/],
  ["a start that is forgotten", [known({})], [{ ...running, status: "created" }], /called created/],
  ["a line lost", [known({})], [{ ...running, log: lines(4, 6) }], /the lines between 4 and 6 are lost/],
  ["a line doubled", [known({})], [{ ...running, log: lines(4, 4) }], /line 4 comes after line 4/],
  ["last lines lost", [known({})], [{ ...ended, log: lines(0, 1) }], /its log has 2, to 1/],
  ["another name", [known({})], [{ ...running, name: "other" }], /now called other/],
  [
    "an address given twice",
    [known({}), known({ id: "2", name: "two" })],
    [
      { ...running, address: "10.0.0.2" },
      { ...running, id: "2", name: "two", address: "10.0.0.2" },
    ],
    /address 10\.0\.0\.2 in bridge is both/,
  ],
];
for (const [what, containers, told, expected] of wrong) {
  test(`${what} is found`, async () => {
    const found = await violations(containers, told);
    assert.equal(found.length, 1, found.join("; "));
    assert.match(found[0] ?? "", expected);
  });
}

test("ends that were not told, told twice or told otherwise are found", async () => {
  assert.match((await violations([known({})], [ended], []))[0] ?? "", /no event told so/);
  assert.match((await violations([known({})], [ended], [["1", [7, 7]]]))[0] ?? "", /told of 2 ends/);
  assert.match((await violations([known({})], [ended], [["1", [0]]]))[0] ?? "", /an event told 0/);
  assert.match((await violations([known({ told: [0] })], [ended]))[0] ?? "", /who waited was told 0/);
  // The daemon came to its end meanwhile: what it had not told yet is lost.
  assert.deepEqual(await violations([known({ begunAt: -1 })], [ended], []), []);
});

test("a policy that gives up early is found", async () => {
  const failing = known({ kind: "crashing", lines: 3 });
  assert.match((await violations([failing], [ended]))[0] ?? "", /started again 2 times, and was 0 times/);
});

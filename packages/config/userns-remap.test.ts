import assert from "node:assert/strict";
import { test } from "node:test";
import { type Accounts, freeRange, resolveRemap, subordinateRanges } from "#config/userns-remap.ts";

const users = [
  { name: "root", id: 0 },
  { name: "daemon", id: 1 },
  { name: "alone", id: 7 },
];
const groups = [
  { name: "root", id: 0 },
  { name: "daemon", id: 1 },
  { name: "adm", id: 4 },
];
const look = (all: typeof users, database: string) => (key: string | number) => {
  const found = all.find(({ name, id }) => key === name || key === id);
  if (found === undefined) throw new Error(`no ${key} in ${database}`);
  return found;
};
const accounts: Accounts = { user: look(users, "passwd"), group: look(groups, "group") };
const daemon = { name: "daemon", id: 1 };

for (const [value, group] of [
  ["daemon", "daemon"],
  ["1", "daemon"],
  ["daemon:adm", "adm"],
  ["daemon:4", "adm"],
  ["1:4", "adm"],
  ["1:daemon", "daemon"],
] as const) {
  test(`${value} is a user and a group`, () => {
    assert.deepEqual(resolveRemap(value, accounts), { kind: "user", user: daemon, group });
  });
}

test("default is a user of that name, or one to be made", () => {
  assert.deepEqual(resolveRemap("default", accounts), { kind: "create" });
  const own = { name: "dockremap", id: 9 };
  const there = { user: look([...users, own], ""), group: look([...groups, own], "") };
  assert.deepEqual(resolveRemap("default", there), { kind: "user", user: own, group: "dockremap" });
});

test("root is nobody to map to", () => {
  assert.deepEqual(resolveRemap("root", accounts), { kind: "off" });
  assert.deepEqual(resolveRemap("0:0", accounts), { kind: "off" });
});

const REFUSED: [string, string][] = [
  ["a:b:c", 'Invalid user/group specification in --userns-remap: "a:b:c"'],
  [":daemon", 'Invalid user/group specification in --userns-remap: ":daemon"'],
  ["nosuch", 'Error during uid lookup for "nosuch": no nosuch in passwd'],
  ["99", "Uid 99 has no entry in /etc/passwd: no 99 in passwd"],
  ["7", "Gid 7 has no entry in /etc/group: no 7 in group"],
  ["alone", 'Error during gid lookup for "alone": no alone in group'],
  ["daemon:nosuch", 'Error during groupname lookup for "nosuch": no nosuch in group'],
  ["daemon:99", "Gid 99 has no entry in /etc/passwd: no 99 in group"],
];
for (const [value, message] of REFUSED) {
  test(`${value} is refused`, () => {
    assert.throws(() => resolveRemap(value, accounts), { name: "BerthError", code: "invalid", message });
  });
}

test("ranges are in the file's order, those of the number rather than of the name", () => {
  const text = "daemon:500000:10\n# a remark\n\nother:7:7\ndaemon:300000:65536\n";
  assert.deepEqual(subordinateRanges(text, "/etc/subuid", daemon), [
    { inside: 0, outside: 500_000, count: 10 },
    { inside: 10, outside: 300_000, count: 65_536 },
  ]);
  assert.deepEqual(subordinateRanges(`${text}1:100000:20`, "/etc/subuid", daemon), [
    { inside: 0, outside: 100_000, count: 20 },
  ]);
});

for (const [what, text, path, message] of [
  ["nothing", "", "/etc/subuid", /: no subuid ranges found for user "daemon"$/],
  ["others' alone", "x:1:1", "/etc/subgid", /: no subgid ranges found for user "daemon"$/],
  ["too few fields", "daemon:1", "/etc/subuid", /Format not correct for \/etc\/subuid file$/],
  ["no number", "daemon:x:1", "/etc/subuid", /parsing of \/etc\/subuid: strconv.Atoi: parsing "x"/],
] as const) {
  test(`${what}: no ranges`, () => assert.throws(() => subordinateRanges(text, path, daemon), message));
}

test("a new user's range overlaps nobody's", () => {
  const free = (text: string) => freeRange(text, "/etc/subuid", 65_536);
  assert.equal(free(""), 100_000);
  assert.equal(free("b:300000:65536\na:100000:65536"), 165_536);
  assert.equal(free("a:100000:65536\nb:165536:65536"), 231_072);
  assert.equal(free("a:100000:65536\nb:200000:65536"), 265_536);
  assert.equal(free("a:5:10"), 100_000);
});

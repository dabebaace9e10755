/** A union does what any directory does, to the error; and its marks lie on the disk as AUFS's do. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { eventually } from "#test/fixtures/eventually.ts";
import { UnionMountFixture } from "#test/fixtures/union-mount.ts";

const skip = UnionMountFixture.missing() ?? false;
const python = spawnSync("python3", ["-c", ""]).status === 0;
const checks = join(import.meta.dirname, "testing/file_checks.py");
const syscalls = join(import.meta.dirname, "testing/syscall_checks.py");

const layer = `mkdir -p low/dir low/sub low/empty low/holder; cd low
  echo file >file; echo other >other; echo deep >sub/deep; echo secret >secret; chmod 600 secret
  for way in write truncate open chown; do echo abcdef >bits_$way; done
  ln -s file link; echo h >h1; ln h1 h2; echo g >g1; ln g1 g2
  seq 1 60000 >big; seq 1 60000 >mapped; echo smallsmall >small; echo abcdefgh >little
  echo gone >gone; echo gone2 >gone2; printf start >append; echo a >attr; echo c >capable; echo l >listed
  python3 -c 'import os; os.setxattr("attr", "user.low", b"l")'
  truncate -s 1M sparse; printf xx | dd of=sparse bs=4096 seek=150 conv=notrunc status=none
  : >times; : >dated; touch holder/f; mkfifo fifo; printf '#!/bin/sh\\necho ran\\n' >program; ln -s nowhere dangling`;

test("files, directories, links, locks, memory, attributes: as in a plain directory (needs python3)", {
  skip: skip || (python ? false : "no python3"),
}, async () => {
  await using union = await UnionMountFixture.make("mkdir low; echo up >low/above", layer);
  execFileSync("cp", ["-a", `${union.path}/.`, union.plain]);
  const told = (directory: string) =>
    execFileSync("timeout", ["-s", "KILL", "900", "python3", checks, directory], { encoding: "utf8" }).split(
      "\n",
    );
  const plain = told(union.plain);
  assert.deepEqual(told(union.path), plain);

  // And on a kernel that lets no file pass through, all over again.
  await union.unmount();
  await union.killServer();
  execFileSync("find", [union.upper, "-mindepth", "1", "-delete"]);
  union.passthrough = false;
  await union.serve();
  await union.mount();
  assert.deepEqual(told(union.path), plain);
});

test("every call on every kind of path, and what owner, group and others may: as in a plain directory (needs python3)", {
  skip: skip || (python ? false : "no python3"),
}, async () => {
  await using union = await UnionMountFixture.make("mkdir above", `python3 '${syscalls}' prepare .`);
  execFileSync("cp", ["-a", `${union.path}/.`, union.plain]);
  const told = (directory: string) =>
    execFileSync("timeout", ["-s", "KILL", "900", "python3", syscalls, "tell", directory], {
      encoding: "utf8",
    }).split("\n");
  assert.deepEqual(told(union.path), told(union.plain));
});

test("marks are AUFS's, and nobody sees or makes them", { skip }, async () => {
  await using union = await UnionMountFixture.make(
    "mkdir -p shadow other; touch .wh.hidden shadow/.wh..wh..opq; echo new >shadow/new; touch .wh..wh.aufs",
    "mkdir -p shadow other tree/sub; touch hidden shadow/old other/file tree/sub/file; echo 1 >file",
  );
  const { path, upper } = union;
  assert.deepEqual(readdirSync(path).sort(), ["file", "other", "shadow", "tree"]);
  assert.deepEqual(readdirSync(join(path, "shadow")), ["new"]);
  assert.throws(() => statSync(join(path, ".wh.hidden")), { code: "ENOENT" });
  assert.throws(() => writeFileSync(join(path, ".wh.made"), ""), { code: "EPERM" });
  assert.throws(() => mkdirSync(join(path, ".wh..wh..opq")), { code: "EPERM" });
  assert.throws(() => renameSync(join(path, "file"), join(path, ".wh.file")), { code: "EPERM" });

  union.shell(
    "rm file; rm -r tree; mkdir tree; echo again >tree/again; echo >other/file2; mv other/file moved",
  );
  const marks = execFileSync("find", [".", "-path", "./.wh..wh.*", "-prune", "-o", "-print"], {
    cwd: upper,
    encoding: "utf8",
  });
  assert.deepEqual(marks.trim().split("\n").sort(), [
    ".",
    "./.wh.file",
    "./moved",
    "./other",
    "./other/.wh.file",
    "./other/file2",
    "./tree",
    "./tree/.wh..wh..opq",
    "./tree/again",
  ]);
  // A directory that shows what is below does not move; one that is new does, and hides what it comes to stand on.
  assert.throws(() => renameSync(join(path, "other"), join(path, "elsewhere")), { code: "EXDEV" });
  union.shell("rm -r shadow; mkdir fresh; mv fresh shadow");
  assert.deepEqual(readdirSync(join(path, "shadow")), []);
  assert.ok(readdirSync(join(upper, "shadow")).includes(".wh..wh..opq"));
});

test("a file with names in several directories below stays one, whoever changes it by which name", {
  skip,
}, async () => {
  await using union = await UnionMountFixture.make(
    "mkdir c; echo other >c/z",
    "mkdir a b c; echo old >a/x; ln a/x b/x; ln a/x c/y; ln a/x c/z; seq 1 60000 >a/large; ln a/large b/large",
  );
  const { path } = union;
  const names = ["a/x", "b/x", "c/y"];
  const one = () => {
    const found = names.map((name) => statSync(join(path, name)));
    assert.deepEqual(new Set(found.map(({ ino }) => ino)).size, 1);
    assert.deepEqual(new Set(found.map(({ mode, size, nlink }) => `${mode} ${size} ${nlink}`)).size, 1);
    return found[0] as Stats;
  };
  const before = one().ino;
  const reader = openSync(join(path, "a/x"), "r");
  writeFileSync(join(path, "b/x"), "new, by b");
  for (const name of names) assert.equal(readFileSync(join(path, name), "utf8"), "new, by b");
  assert.equal(readFileSync(reader, "utf8"), "new, by b");
  closeSync(reader);
  assert.equal(one().ino, before);
  union.shell("chmod 600 c/y; echo more >>a/x; echo x >>b/large");
  assert.equal(one().mode & 0o777, 0o600);
  assert.equal(readFileSync(join(path, "a/large"), "utf8").slice(-2), "x\n");
  // Also after a new mount, and from a name that nobody has used.
  await union.unmount();
  await union.mount();
  assert.equal(readFileSync(join(path, "c/y"), "utf8"), "new, by bmore\n");
  assert.equal(one().ino, before);
  union.shell("rm a/x; mv c/y c/moved; echo last >b/x");
  assert.equal(readFileSync(join(path, "c/moved"), "utf8"), "last\n");
  assert.equal(statSync(join(path, "b/x")).ino, before);
  assert.equal(readFileSync(join(path, "c/z"), "utf8"), "other\n");
  // And below all is as it was.
  assert.equal(readFileSync(join(union.lower[1] as string, "a/x"), "utf8"), "old\n");
});

test("who reads a large file goes on reading it when another changes it; by its name it is the new one", {
  skip,
}, async () => {
  await using union = await UnionMountFixture.make("seq 1 100000 >large");
  const file = join(union.path, "large");
  const reader = openSync(file, "r");
  try {
    const inode = statSync(file).ino;
    writeFileSync(file, "new");
    assert.equal(readFileSync(reader, "utf8").length, 588_895);
    assert.equal(readFileSync(file, "utf8"), "new");
    assert.equal(statSync(file).ino, inode);
  } finally {
    closeSync(reader);
  }
});

test("a large file is copied up while others go on, and once for all who want it", { skip }, async () => {
  await using union = await UnionMountFixture.make(
    "head -c 40000000 /dev/urandom >large; sha256sum large >sum",
  );
  union.shell(`
    for i in 1 2 3 4; do ( printf $i | dd of=large bs=1 seek=$((40000000 + i)) conv=notrunc status=none ) & done
    ls >/dev/null; wait
    head -c 40000000 large | sha256sum | cut -c1-64 >got; cut -c1-64 sum | cmp - got
    test "$(tail -c 4 large)" = 1234; sync large`);
  assert.deepEqual(readdirSync(join(union.upper, ".wh..wh.orph")), []);
});

test("numbers of files are one for each, the same in listings, and stay over copies and mounts", {
  skip,
}, async () => {
  await using union = await UnionMountFixture.make(
    "mkdir -p d/e; for i in 1 2 3 4 5; do echo $i >d/up$i; done",
    "mkdir -p d/e d/f; for i in 1 2 3 4 5; do echo $i >d/low$i; done",
  );
  const numbers = () =>
    new Map(
      union
        .shell("cd d; find . -printf '%i %P\\n'")
        .trim()
        .split("\n")
        .map((line): [string, string] => [
          line.slice(line.indexOf(" ") + 1),
          line.slice(0, line.indexOf(" ")),
        ]),
    );
  const before = numbers();
  assert.equal(new Set(before.values()).size, 13);
  union.shell(
    "cd d; for i in 1 3; do echo x >>up$i; echo x >>low$i; done; touch e f; mv low5 moved; mv up5 gone",
  );
  const after = numbers();
  for (const [name, number] of before) {
    const now = name === "low5" ? "moved" : name === "up5" ? "gone" : name;
    assert.equal(after.get(now), number, name);
  }
  const listed = union.shell("ls -i d").trim().split("\n").length;
  assert.equal(listed, 12);
  await union.unmount();
  await union.mount();
  assert.deepEqual(numbers(), after);
});

test("the kernel forgets and is forgotten: no node stays of many that were looked at", { skip }, async () => {
  await using union = await UnionMountFixture.make(
    "for d in 1 2 3 4 5 6 7 8; do mkdir $d; (cd $d; seq 1 100 | xargs touch); done",
  );
  const count = async () => (await union.client.list())[0]?.nodes ?? 0;
  for (let round = 0; round < 2; round++) {
    union.shell("ls -lR >/dev/null");
    assert.ok((await count()) > 800);
    await eventually(async () => {
      // What memory there is for names is given back.
      writeFileSync("/proc/sys/vm/drop_caches", "2");
      assert.ok((await count()) < 100);
    });
  }
  // A listing that is still there knows of a copy that was made since: the node was forgotten, and is found anew.
  union.shell(`cd 1; exec 3<.; ls -l >/dev/null; echo changed >7
    for i in 1 2 3; do echo 2 >/proc/sys/vm/drop_caches; test "$(ls -l 7 | cut -d' ' -f5)" = 8; ls -l >/dev/null; done
    test "$(cat 7)" = changed`);
});

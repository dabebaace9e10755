/**
 * A union under the file system stressors of stress-ng, which look at what they get back: all at once, and afterwards it is as
 * it was. BERTH_STRESS_SECONDS says how long, BERTH_STRESSORS which (names, with commas between).
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { UnionMountFixture } from "#test/fixtures/union-mount.ts";

const skip =
  UnionMountFixture.missing() ??
  (existsSync("/usr/bin/stress-ng") ? false : "needs stress-ng (/usr/bin/stress-ng)");
const seconds = Number(process.env.BERTH_STRESS_SECONDS ?? "4");
const stressors = (
  process.env.BERTH_STRESSORS ??
  "access,aio,chmod,chown,copy-file,dentry,dirdeep,fallocate,fcntl,flock,fpunch,getdent,hdd,link,lockf,lockofd,mknod," +
    "msync,open,readahead,rename,seek,sendfile,symlink,sync-file,touch,utime,xattr"
).split(",");
/** Small: it is about what they do, not about how much. */
const sizes = {
  "copy-file": "128M",
  fallocate: "16M",
  hdd: "8M",
  readahead: "8M",
};

test(`${stressors.length} stressors of stress-ng find nothing wrong in ${seconds} s (needs stress-ng)`, {
  skip,
}, async () => {
  await using union = await UnionMountFixture.make("mkdir below; seq 1 1000 >below/file");
  const place = join(union.path, "below/stress");
  mkdirSync(place);
  const args = ["--temp-path", place, "--verify", "--timeout", `${seconds}s`, "--oomable"];
  for (const name of stressors) args.push(`--${name}`, "1");
  for (const [name, size] of Object.entries(sizes)) {
    if (stressors.includes(name)) args.push(`--${name}-bytes`, size);
  }
  const child = spawn("timeout", ["-s", "KILL", String(seconds + 900), "stress-ng", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
  }
  const [status] = await once(child, "close");
  // 3: one of them had too little memory or room.
  assert.ok(status === 0 || status === 3, said);
  assert.doesNotMatch(said, /fail:/);
  execFileSync("rm", ["-rf", place]);
  assert.deepEqual(readdirSync(join(union.upper, ".wh..wh.orph")), []);
  assert.deepEqual(readdirSync(join(union.path, "below")), ["file"]);
  assert.equal(union.shell("wc -l <below/file"), "1000\n");
});

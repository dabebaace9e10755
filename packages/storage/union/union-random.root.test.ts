/**
 * 100,000 random operations on unions equal those on plain directories, in pieces with seeds of their own.
 * BERTH_RANDOM_OPERATIONS says how many each piece has, BERTH_RANDOM_SEED the first seed.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { UnionMountFixture } from "#test/fixtures/union-mount.ts";

const operations = Number(process.env.BERTH_RANDOM_OPERATIONS ?? "25000");
const firstSeed = Number(process.env.BERTH_RANDOM_SEED ?? "1");
const PIECES = 4;
const program = join(import.meta.dirname, "../../../test/contracts/random-files.ts");
const lower =
  "mkdir -p work/a/b/c work/d/e; cd work; echo 1 >a/a; echo 2 >a/b/a; head -c 200000 /dev/zero >a/b/c/b; " +
  "seq 1 20000 >b; ln -s b c; mkdir f; echo x >f/f; chmod 4755 f/f; chown 5:6 d/e; : >g; seq 1 60000 >e; " +
  "ln e a/e; ln e d/f; : >a/d";
const upper =
  "mkdir -p work/a/b work/d/f; cd work; seq 5 9000 >a/b/b; echo new >b; ln -s f d/g; touch .hidden; rm -rf d/f; " +
  "mkdir -p a/c; touch a/c/.wh..wh..opq a/.wh.d";

test(`${PIECES} times ${operations} random operations equal those on a plain directory`, {
  skip: UnionMountFixture.missing() ?? false,
}, async () => {
  for (let piece = 0; piece < PIECES; piece++) {
    await using union = await UnionMountFixture.make(upper, lower);
    if (piece === PIECES - 1) {
      // One as on a kernel that lets no file pass through.
      await union.unmount();
      await union.killServer();
      union.passthrough = false;
      await union.serve();
      await union.mount();
    }
    const seed = String(firstSeed + piece);
    execFileSync("cp", ["-a", join(union.path, "work"), union.plain]);
    const trees = [join(union.path, "work"), join(union.plain, "work")];
    const args = [
      "--disable-warning=ExperimentalWarning",
      program,
      ...trees,
      seed,
      String(operations),
      "true",
    ];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit"] });
    const [status] = await once(child, "exit");
    assert.equal(status, 0, `seed ${seed}`);
    // And after a new mount everything is as it was.
    const look =
      "cd work; find . | sort; find . -type f | sort | xargs -d '\\n' -r md5sum; find . | sort | xargs -d '\\n' -r stat -c '%n %i %f %u %g'";
    const before = union.shell(look);
    await union.unmount();
    await union.mount();
    assert.equal(union.shell(look), before, `seed ${seed}, mounted again`);
  }
});

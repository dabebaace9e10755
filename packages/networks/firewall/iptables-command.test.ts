/** Changes of rules while others change them, with commands that stand in for the real ones. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const directory = mkdtempSync(join(tmpdir(), "berth-iptables-"));
after(() => rmSync(directory, { recursive: true }));

/** What is saved counts up; what is restored is refused as long as it rests on less than `fresh`. */
function standIns(fresh: number): void {
  const count = join(directory, "count");
  writeFileSync(count, "0");
  const script = (name: string, text: string) =>
    writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  script("iptables-save", `n=$(($(cat ${count}) + 1)); echo $n | tee ${count}`);
  script("iptables-restore", `read n; [ $n -ge ${fresh} ] || { echo "line 1 failed" >&2; exit 1; }`);
}

test("what has become stale is made again from what is there, but not for ever", async () => {
  process.env.PATH = `${directory}:${process.env.PATH}`;
  const { IptablesCommand } = await import("#networks/firewall/iptables-command.ts");
  const command = new IptablesCommand();
  const tries = () => Number(readFileSync(join(directory, "count"), "utf8"));
  standIns(3);
  await command.change(
    (saved) => saved,
    (text) => command.restore(text, 4),
    4,
  );
  assert.equal(tries(), 3);
  standIns(100);
  await assert.rejects(
    command.change(
      (saved) => saved,
      (text) => command.restore(text, 4),
      4,
    ),
    /iptables-restore failed \(exit status 1\): line 1 failed/,
  );
  assert.equal(tries(), 5);
});

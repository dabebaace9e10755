import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPsArguments } from "#engine/containers/process-table.ts";
import { cpuTime } from "#go-values/testing/cpu-time.ts";

test("no other column may be called PID", () => {
  for (const args of ["-ef", "-o pid,args", "-o pid=PID", "-o  pid=  PID", "-o comm=NAME"])
    checkPsArguments(args);
  const cases: [args: string, column: string, title: string][] = [
    ["-o foo=PID", "foo", "PID"],
    ["foo=pid", "foo", "pid"],
    ["-e  -o   comm=  PIDX rest", "comm", "PIDX"],
  ];
  for (const [args, column, title] of cases) {
    assert.throws(() => checkPsArguments(args), {
      code: "invalid",
      message: `specifying "${column}=${title}" is not allowed`,
    });
  }
});

test("the cost grows with the length of the arguments alone", () => {
  assert.ok(cpuTime(() => checkPsArguments(`a${" ".repeat(250_000)}b`)) < 5_000);
});

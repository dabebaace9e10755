import assert from "node:assert/strict";
import { constants } from "node:os";
import { describe, it } from "node:test";
import { parseSignal, signalName } from "#runtime/signals.ts";

describe("signals", () => {
  it("agree with this machine's", () => {
    for (const [name, number] of Object.entries(constants.signals))
      assert.equal(parseSignal(name), number, name);
  });

  it("are read with or without SIG, in any case, as numbers and as real-time signals", () => {
    const cases = {
      term: 15,
      SIGkill: 9,
      "9": 9,
      RTMIN: 34,
      "SIGRTMIN+3": 37,
      "RTMAX-1": 63,
      RTMAX: 64,
      "64": 64,
    };
    for (const [text, number] of Object.entries(cases)) assert.equal(parseSignal(text), number, text);
  });

  it("are refused with Docker's text", () => {
    for (const text of [
      "",
      "0",
      "65",
      "-9",
      "9x",
      "SIGNOSUCH",
      "RTMIN-1",
      "RTMAX+1",
      "RTMIN+31",
      "constructor",
      "1e1",
    ]) {
      assert.throws(() => parseSignal(text), new RegExp(`invalid signal: ${text.replace("+", "\\+")}`), text);
    }
  });

  it("have names that lead back", () => {
    for (let number = 1; number <= 64; number++) assert.equal(parseSignal(signalName(number)), number);
    assert.equal(signalName(37), "SIGRTMIN+3");
  });
});

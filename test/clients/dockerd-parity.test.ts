/**
 * The same command lines to Debian's dockerd and to Berth: what comes out, the exit code, and what inspect shows afterwards
 * are the same, but for what test/parity/known-differences.ts lists with its reasons.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { dockerCliMissing } from "#test/clients/docker-cli.ts";
import { commandLines } from "#test/parity/command-lines.ts";
import { differences, show, words } from "#test/parity/compare.ts";
import { createLines } from "#test/parity/create-lines.ts";
import { type Answer, type ParityEngine, ParityEngines } from "#test/parity/engines.ts";
import { fieldsApart, inNewerWords, linesApart } from "#test/parity/known-differences.ts";

const missing = dockerCliMissing();
const NAME = "parity";
const lines = (text: string) => text.split("\n").filter((line) => line.trim() !== "");

describe(`beside dockerd${missing ? ` (skipped: ${missing})` : ""}`, { skip: missing }, () => {
  let engines: ParityEngines;
  before(async () => {
    engines = await ParityEngines.start();
  });
  after(() => engines[Symbol.asyncDispose]());

  const compare = (line: string, ask: (engine: ParityEngine) => Answer) => {
    const [theirs, ours] = [ask(engines.dockerd), ask(engines.berth)];
    // Where one has refused, there is nothing else to be compared.
    const [dockerd, berth] = theirs.code === ours.code ? [theirs, ours] : [answer(theirs), answer(ours)];
    const found = differences(dockerd, berth).filter(
      ({ where }) => !fieldsApart.some(([field]) => field.test(where)),
    );
    if (linesApart[line] !== undefined)
      assert.notEqual(found.length, 0, "has become equal: take it off the list");
    else assert.equal(found.map(show).join("\n"), "");
  };

  for (const line of lines(createLines)) {
    it(`create ${line}`, () => compare(`create ${line}`, (engine) => created(engine, words(line))));
  }
  for (const line of lines(commandLines)) {
    it(line, () => compare(line, (engine) => inNewerWords(engine.docker(words(line)))));
  }
});

function answer({ code, stdout, stderr }: Answer): Answer {
  return { code, stdout, stderr };
}

function created(engine: ParityEngine, args: string[]): Answer {
  const made = inNewerWords(engine.docker(["create", "--name", NAME, ...args]));
  if (made.code !== 0) return made;
  const [shown] = JSON.parse(engine.docker(["inspect", NAME]).stdout);
  engine.docker(["rm", "-f", "-v", NAME]);
  // Where things lie is each engine's own.
  const { GraphDriver: _, ...rest } = shown;
  return { ...made, ...rest };
}

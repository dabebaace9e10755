/**
 * Regular expressions of users, as Go reads them and runs them: RE2's syntax, in time that grows with the text and the
 * expression, never with the ways to match. V8 tries one way after the other, which a dozen characters make last for hours.
 */
import { createRequire } from "node:module";

/** What is no expression; the message is Go's. */
export class ExpressionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ExpressionError";
  }
}

/** Characters: enough for whoever lists names, and what is made of so many is compiled in a fraction of a second. */
const LIMIT = 1000;

/** Found as it is, without the engine. */
const PLAIN = /^[\w\-/:@ ]*$/;

/** Loaded when somebody has an expression: 5 MiB, 10 ms. */
let engine: typeof import("re2js") | undefined;

/** A test whether an expression matches some part of a text. Throws ExpressionError where it is none. */
export function expressionTest(expression: string): (text: string) => boolean {
  if (PLAIN.test(expression)) return (text) => text.includes(expression);
  if (expression.length > LIMIT) throw new ExpressionError("error parsing regexp: expression too large");
  engine ??= createRequire(import.meta.url)("re2js") as typeof import("re2js");
  try {
    const compiled = engine.RE2JS.compile(expression);
    return (text) => compiled.test(text);
  } catch (error) {
    if (!(error instanceof engine.RE2JSException)) throw error;
    throw new ExpressionError(error.message);
  }
}

/** Runs a parsed template over data: plain objects, lists and values, as JSON gives them. */
import { functions } from "#go-template/functions.ts";
import {
  type Block,
  type Node,
  type Operand,
  type Pipe,
  parseTemplate,
  TemplateError,
} from "#go-template/parse.ts";
import { show, truth, type Value } from "#go-template/values.ts";

export { TemplateError };

interface Scope {
  dot: Value;
  variables: Map<string, { value: Value }>;
}

/** A field that is not there: an error where the data's shape is known, as in `docker ps --format '{{.Foo}}'`. */
export class MissingFieldError extends Error {
  constructor(name: string) {
    super(`template: :1: executing "" at <.${name}>: map has no entry for key "${name}"`);
    this.name = "MissingFieldError";
  }
}

/** Compiles once, runs often. Throws TemplateError; the function throws MissingFieldError and Error. */
export function template(text: string): (data: Value) => string {
  const nodes = parseTemplate(text);
  return (data) => run(nodes, { dot: data, variables: new Map([["$", { value: data }]]) });
}

function run(nodes: readonly Node[], scope: Scope): string {
  let output = "";
  for (const node of nodes) {
    if (node.kind === "text") output += node.text;
    else if (node.kind === "output") {
      const value = evaluate(node.pipe, scope);
      if (node.pipe.declares.length === 0) output += show(value);
    } else if (node.kind === "range") output += runRange(node, scope);
    else {
      const inner: Scope = { dot: scope.dot, variables: new Map(scope.variables) };
      const value = evaluate(node.pipe, inner);
      if (node.kind === "with" && truth(value)) inner.dot = value;
      output += run(truth(value) ? node.body : node.otherwise, inner);
    }
  }
  return output;
}

function runRange(node: Block, scope: Scope): string {
  const value = evaluate({ ...node.pipe, declares: [] }, scope);
  const entries: [Value, Value][] = Array.isArray(value)
    ? value.map((item, i) => [i, item])
    : typeof value === "number"
      ? Array.from({ length: value }, (_, i) => [i, i])
      : Object.entries((value ?? {}) as object).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return run(node.otherwise, scope);
  return entries
    .map(([key, item]) => {
      const variables = new Map(scope.variables);
      const [first, second] = node.pipe.declares;
      if (second !== undefined) variables.set(second, { value: item });
      if (first !== undefined) variables.set(first, { value: second === undefined ? item : key });
      return run(node.body, { dot: item, variables });
    })
    .join("");
}

function evaluate(pipe: Pipe, scope: Scope): Value {
  let value: Value;
  for (const [i, command] of pipe.commands.entries())
    value = evaluateCommand(command, i > 0 ? [value] : [], scope);
  for (const name of pipe.declares) {
    const existing = scope.variables.get(name);
    if (pipe.assigns && existing) existing.value = value;
    else scope.variables.set(name, { value });
  }
  return value;
}

function evaluateCommand(command: readonly Operand[], piped: readonly Value[], scope: Scope): Value {
  const [first, ...rest] = command;
  if (first === undefined) throw new TemplateError("missing value for command");
  if (first.kind !== "function") {
    const value = resolve(first, scope);
    const [key, ...more] = [...rest.map((operand) => resolve(operand, scope)), ...piped];
    if (key === undefined) return value;
    // A method that looks something up by name, such as .Label "x".
    if (first.kind === "field" && more.length === 0 && value !== null && typeof value === "object")
      return Object.hasOwn(value, String(key)) ? (value as Record<string, Value>)[String(key)] : "";
    throw new Error(`can't give argument to non-function ${operandText(first)}`);
  }
  const callee = Object.hasOwn(functions, first.name) ? functions[first.name] : undefined;
  if (callee === undefined) throw new TemplateError(`function "${first.name}" not defined`);
  return callee(...rest.map((operand) => resolve(operand, scope)), ...piped);
}

function resolve(operand: Operand, scope: Scope): Value {
  switch (operand.kind) {
    case "dot":
      return scope.dot;
    case "nil":
      return undefined;
    case "literal":
      return operand.value;
    case "group":
      return evaluate(operand.pipe, scope);
    case "function":
      return evaluateCommand([operand], [], scope);
    case "variable": {
      const variable = scope.variables.get(operand.name);
      if (!variable) throw new TemplateError(`undefined variable "${operand.name}"`);
      return variable.value;
    }
    case "field":
      return field(resolve(operand.of, scope), operand.name);
  }
}

/** JSON's name of the field, or the API type's, which differs in case (Id and ID). */
function field(value: Value, name: string): Value {
  if (value === null || value === undefined) throw new Error(`nil pointer evaluating interface {}.${name}`);
  if (typeof value !== "object") throw new Error(`can't evaluate field ${name} in type ${typeof value}`);
  const object = value as Record<string, Value>;
  if (name in object) return object[name];
  const lower = name.toLowerCase();
  const key = Object.keys(object).find((candidate) => candidate.toLowerCase() === lower);
  if (key === undefined) throw new MissingFieldError(name);
  return object[key];
}

function operandText(operand: Operand): string {
  return operand.kind === "field"
    ? `.${operand.name}`
    : operand.kind === "literal"
      ? String(operand.value)
      : operand.kind;
}

/**
 * Go's text/template, as much of it as `--format` uses: actions with pipelines, fields, variables, literals,
 * if/else/with/range, trim markers and comments. No definitions, no method calls with arguments. Text in, tree out.
 */

export interface Block {
  kind: "if" | "with" | "range";
  pipe: Pipe;
  body: Node[];
  otherwise: Node[];
}

export type Node = { kind: "text"; text: string } | { kind: "output"; pipe: Pipe } | Block;

export interface Pipe {
  /** Variables it declares: one, or index and element for range. */
  declares: string[];
  /** `=` to a variable that is there already. */
  assigns: boolean;
  commands: Operand[][];
}

export type Operand =
  | { kind: "dot" }
  | { kind: "nil" }
  | { kind: "literal"; value: string | number | boolean }
  | { kind: "field"; of: Operand; name: string }
  | { kind: "variable"; name: string }
  | { kind: "function"; name: string }
  | { kind: "group"; pipe: Pipe };

export class TemplateError extends Error {
  constructor(message: string) {
    super(`template parsing error: template: :1: ${message}`);
    this.name = "TemplateError";
  }
}

type Token = { text: string; kind: "word" | "field" | "variable" | "string" | "number" | "mark" };

/** Throws TemplateError. */
export function parseTemplate(text: string): Node[] {
  const pieces = splitActions(text);
  const { nodes, end } = parseNodes(pieces, []);
  if (end !== "") throw new TemplateError(`unexpected {{${end}}}`);
  return nodes;
}

type Piece = { text: string } | { action: string };

/** Cuts the text at its actions; comments go, and the space that trim markers take. */
function splitActions(text: string): Piece[] {
  const pieces: Piece[] = [];
  let rest = text;
  let trimNext = false;
  for (;;) {
    const open = rest.indexOf("{{");
    let before = open < 0 ? rest : rest.slice(0, open);
    if (trimNext) before = before.trimStart();
    if (open < 0) {
      pieces.push({ text: before });
      return pieces;
    }
    const close = actionEnd(rest, open + 2);
    if (close < 0) throw new TemplateError("unclosed action");
    let action = rest.slice(open + 2, close);
    if (/^-\s/.test(action)) {
      before = before.trimEnd();
      action = action.slice(1);
    }
    trimNext = /\s-$/.test(action);
    if (trimNext) action = action.slice(0, -1);
    pieces.push({ text: before });
    if (!/^\s*\/\*[\s\S]*\*\/\s*$/.test(action)) pieces.push({ action: action.trim() });
    rest = rest.slice(close + 2);
  }
}

/** Where the action that begins here is closed, not inside a string. */
function actionEnd(text: string, from: number): number {
  const matcher = /"(?:[^"\\]|\\.)*"|`[^`]*`|\/\*[\s\S]*?\*\/|\}\}/g;
  matcher.lastIndex = from;
  for (let match = matcher.exec(text); match; match = matcher.exec(text))
    if (match[0] === "}}") return match.index;
  return -1;
}

/** Parses until one of the ends is met, and says which. */
function parseNodes(pieces: Piece[], ends: string[]): { nodes: Node[]; end: string } {
  const nodes: Node[] = [];
  for (let piece = pieces.shift(); piece; piece = pieces.shift()) {
    if ("text" in piece) {
      if (piece.text !== "") nodes.push({ kind: "text", text: piece.text });
      continue;
    }
    const { action } = piece;
    const word = /^\w+/.exec(action)?.[0] ?? "";
    if (word === "end" || word === "else") {
      if (!ends.includes(word)) throw new TemplateError(`unexpected {{${word}}}`);
      return { nodes, end: action };
    }
    if (word === "if" || word === "with" || word === "range")
      nodes.push(parseBlock(pieces, word, action.slice(word.length)));
    else if (["define", "template", "block", "break", "continue"].includes(word))
      throw new TemplateError(`{{${word}}} is not supported here`);
    else nodes.push({ kind: "output", pipe: parsePipe(tokens(action)) });
  }
  if (ends.length > 0) throw new TemplateError("unexpected EOF");
  return { nodes, end: "" };
}

function parseBlock(pieces: Piece[], kind: Block["kind"], text: string): Block {
  const pipe = parsePipe(tokens(text));
  const body = parseNodes(pieces, ["else", "end"]);
  if (!body.end.startsWith("else")) return { kind, pipe, body: body.nodes, otherwise: [] };
  const chained = /^else\s+(if|with)\b(.*)$/s.exec(body.end);
  if (chained) {
    const otherwise = [parseBlock(pieces, chained[1] as "if" | "with", chained[2] ?? "")];
    return { kind, pipe, body: body.nodes, otherwise };
  }
  return { kind, pipe, body: body.nodes, otherwise: parseNodes(pieces, ["end"]).nodes };
}

function tokens(text: string): Token[] {
  const list: Token[] = [];
  const matcher =
    /\s+|(?<string>"(?:[^"\\]|\\.)*"|`[^`]*`|'(?:[^'\\]|\\.)*')|(?<number>-?\d+(?:\.\d+)?(?![\w.]))|(?<field>\.\w+)|(?<variable>\$\w*)|(?<word>\w+)|(?<mark>:=|[|(),.=])/gy;
  let at = 0;
  while (at < text.length) {
    matcher.lastIndex = at;
    const match = matcher.exec(text);
    if (!match) throw new TemplateError(`unexpected ${JSON.stringify(text[at])} in command`);
    at = matcher.lastIndex;
    for (const [kind, value] of Object.entries(match.groups ?? {}))
      if (value !== undefined) list.push({ kind: kind as Token["kind"], text: value });
    // A field after a space is an argument of its own; glued to what is before it, it belongs to that.
    if (match.groups?.field !== undefined && list.length > 1 && !/\s/.test(text[match.index - 1] ?? " "))
      list.splice(-1, 0, { kind: "mark", text: "glue" });
  }
  return list;
}

function parsePipe(list: Token[], closing = false): Pipe {
  const pipe: Pipe = { declares: [], assigns: false, commands: [] };
  const operator = list.findIndex(
    (token) => token.kind === "mark" && (token.text === ":=" || token.text === "="),
  );
  if (
    operator > 0 &&
    list.slice(0, operator).every((token) => token.kind === "variable" || token.text === ",")
  ) {
    const head = list.splice(0, operator + 1);
    pipe.declares = head.filter((token) => token.kind === "variable").map((token) => token.text);
    pipe.assigns = head.at(-1)?.text === "=";
  }
  let command: Operand[] = [];
  for (;;) {
    const token = list[0];
    if (token === undefined || token.text === ")") {
      if ((token !== undefined) !== closing)
        throw new TemplateError(closing ? "unclosed left paren" : "unexpected right paren");
      list.shift();
      break;
    }
    if (token.kind === "mark" && token.text === "|") {
      list.shift();
      if (command.length === 0) throw new TemplateError("missing value for command");
      pipe.commands.push(command);
      command = [];
    } else command.push(parseOperand(list));
  }
  if (command.length === 0) throw new TemplateError("missing value for command");
  pipe.commands.push(command);
  return pipe;
}

function parseOperand(list: Token[]): Operand {
  let operand = parsePrimary(list.shift());
  if (operand === "group") operand = { kind: "group", pipe: parsePipe(list, true) };
  while (list[0]?.text === "glue") {
    list.shift();
    operand = { kind: "field", of: operand, name: (list.shift()?.text ?? "").slice(1) };
  }
  return operand;
}

function parsePrimary(token: Token | undefined): Operand | "group" {
  if (token === undefined) throw new TemplateError("missing value for command");
  const { kind, text } = token;
  if (kind === "field") return { kind: "field", of: { kind: "dot" }, name: text.slice(1) };
  if (kind === "variable") return { kind: "variable", name: text };
  if (kind === "number") return { kind: "literal", value: Number(text) };
  if (kind === "string") return { kind: "literal", value: unquote(text) };
  if (kind === "word") {
    if (text === "nil") return { kind: "nil" };
    if (text === "true" || text === "false") return { kind: "literal", value: text === "true" };
    return { kind: "function", name: text };
  }
  if (text === ".") return { kind: "dot" };
  if (text === "(") return "group";
  throw new TemplateError(`unexpected ${JSON.stringify(text)} in operand`);
}

function unquote(text: string): string | number {
  if (text.startsWith("`")) return text.slice(1, -1);
  const plain = text.slice(1, -1).replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)/gs, (_, code: string) => {
    const simple: Record<string, string> = {
      n: "\n",
      t: "\t",
      r: "\r",
      a: "\x07",
      b: "\b",
      f: "\f",
      v: "\v",
    };
    if (code.length > 1) return String.fromCodePoint(Number.parseInt(code.slice(1), 16));
    return simple[code] ?? code;
  });
  return text.startsWith("'") ? (plain.codePointAt(0) ?? 0) : plain;
}

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MissingFieldError, TemplateError, template } from "#go-template/template.ts";

const data = {
  Name: "web",
  Id: "abc",
  Count: 3,
  Zero: 0,
  Empty: "",
  Nothing: null,
  List: ["a", "b"],
  Map: { z: 1, "80/tcp": [{ HostPort: "8080" }] },
  State: { Running: true, Pid: 12 },
};

/** Template, output. */
const cases: [string, string][] = [
  ["plain", "plain"],
  ["{{.Name}}-{{.State.Pid}}", "web-12"],
  ["{{.ID}}", "abc"],
  ["{{json .State}}", '{"Running":true,"Pid":12}'],
  ['{{ .Name | printf "%-6s|" }}', "web   |"],
  ['{{printf "%d %q %5.1f%%" .Count .Name 2.5}}', '3 "web"   2.5%'],
  ["{{if .State.Running}}up{{else}}down{{end}}", "up"],
  ["{{if .Zero}}a{{else if .Name}}b{{else}}c{{end}}", "b"],
  ["{{if and .Name (eq .Count 3)}}y{{end}}", "y"],
  ["{{if not .Empty}}y{{end}}", "y"],
  ["{{range .List}}<{{.}}>{{end}}", "<a><b>"],
  ["{{range $i, $e := .List}}{{$i}}={{$e}},{{end}}", "0=a,1=b,"],
  ["{{range $k, $v := .Map}}{{$k}};{{end}}", "80/tcp;z;"],
  ["{{range .Nothing}}x{{else}}none{{end}}", "none"],
  ['{{(index (index .Map "80/tcp") 0).HostPort}}', "8080"],
  ['{{index .Map "nope"}}', "<no value>"],
  ["{{with .State}}{{.Pid}}{{$.Name}}{{end}}", "12web"],
  ["{{$x := .Count}}{{$x}}", "3"],
  ['{{join .List ", "}}', "a, b"],
  ['{{upper .Name}} {{lower "ABC"}} {{title "ab cd"}}', "WEB abc Ab Cd"],
  ["{{len .List}} {{len .Name}}", "2 3"],
  ["{{slice .Name 1 2}}", "e"],
  ["{{println .Name .Count}}", "web 3\n"],
  ["a {{- .Count -}}  b", "a3b"],
  ["{{/* a comment */}}x", "x"],
  ["{{.List}} {{.Map.z}} {{.Nothing}}", "[a b] 1 <no value>"],
  ["{{.State}}", "map[Pid:12 Running:true]"],
  ['{{"}}"}}', "}}"],
  ["{{`raw`}}{{'a'}}", "raw97"],
  ['{{eq .Name "x" "web"}} {{ne .Count 4}} {{lt 1 2}} {{ge 1 2}}', "true true true false"],
  ['{{split "a:b" ":"}}', "[a b]"],
  ['{{pad "x" 1 2}}|{{truncate "abcdef" 2}}', " x  |ab"],
];
for (const [text, output] of cases)
  test(text, () => {
    assert.equal(template(text)(data), output);
  });

test("what is wrong is told", () => {
  assert.throws(() => template("{{.Name"), TemplateError);
  assert.throws(() => template("{{if .Name}}x"), TemplateError);
  assert.throws(() => template("{{end}}"), TemplateError);
  assert.throws(() => template("{{(.Name}}"), TemplateError);
  assert.throws(() => template("{{nope .}}")(data), /function "nope" not defined/);
  assert.throws(() => template("{{constructor}}")(data), /not defined/);
  assert.throws(() => template("{{.Nope}}")(data), MissingFieldError);
  assert.throws(() => template("{{.Nothing.X}}")(data), /nil pointer/);
  assert.throws(() => template("{{$x}}")(data), /undefined variable/);
});

test("a parser error is a TemplateError, whatever the text", () => {
  const piece = fc.constantFrom(
    "{{",
    "}}",
    ".",
    "if ",
    "end",
    "$x",
    "|",
    "(",
    ")",
    '"',
    "`",
    ":=",
    "a",
    " ",
    "range ",
    "else",
  );
  fc.assert(
    fc.property(fc.array(piece), (pieces) => {
      try {
        template(pieces.join(""));
      } catch (error) {
        assert.ok(error instanceof TemplateError, String(error));
      }
    }),
    { numRuns: 1000 },
  );
});

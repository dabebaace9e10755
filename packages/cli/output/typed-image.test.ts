import assert from "node:assert/strict";
import { test } from "node:test";
import { typedImage } from "#cli/output/typed-image.ts";
import { MissingFieldError, template } from "#go-template/template.ts";

const image = {
  Id: "sha256:1",
  Os: "linux",
  Config: { Cmd: ["sh"], Labels: { a: "b" }, Volumes: null },
  GraphDriver: { Name: "overlay2", Data: {} },
};

/** As Docker's command line prints them. */
const cases: [string, string][] = [
  ["{{.Variant}}|{{.Container}}|{{.Os}}", "||linux"],
  ["{{.ContainerConfig}} {{.Manifests}} {{.VirtualSize}}", "<nil> [] 0"],
  [
    "{{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Volumes}} {{.Config.ArgsEscaped}}",
    "[sh] [] map[] false",
  ],
  ["{{.Config.Healthcheck}}{{if .Config.Healthcheck}}x{{end}}{{json .Config.Healthcheck}}", "<nil>null"],
  ["{{.Config.Labels.a}} {{.Config.Labels.other}}", "b <no value>"],
  ["{{.Config.Labels}}{{range $k, $v := .Config.Labels}}{{$k}}{{end}}", "map[a:b]a"],
  ["{{.GraphDriver.Data.LowerDir}} {{.GraphDriver.Name}}", "<no value> overlay2"],
  ["{{json .Config}}", '{"Cmd":["sh"],"Labels":{"a":"b"}}'],
];
for (const [text, output] of cases) {
  test(text, () => assert.equal(template(text)(typedImage(image)), output));
}

test("an image without labels has none", () => {
  const bare = typedImage({ Config: {} });
  assert.equal(template("{{.Config.Labels}} {{.Config.Labels.a}}")(bare), "map[] <no value>");
});

test("what no image has is an error still", () => {
  for (const text of ["{{.Nonsense}}", "{{.Config.Nonsense}}", "{{.Config.Healthcheck.Test}}"])
    assert.throws(() => template(text)(typedImage(image)), MissingFieldError);
});

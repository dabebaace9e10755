import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuTime } from "#go-values/testing/cpu-time.ts";
import { applyChanges } from "./dockerfile-changes.ts";

test("each instruction", () => {
  const config = applyChanges({ Env: ["A=old", "B=kept"] }, [
    'CMD ["a", "b"]',
    "entrypoint run it",
    "ENV A=1 C='two words'",
    "ENV OLD the old form",
    "EXPOSE 80 53/udp 8000-8002",
    'LABEL a="b c" d=e',
    "USER 1000:1000",
    'VOLUME ["/a", "/b c"]',
    "VOLUME /d /e",
    "WORKDIR /srv",
    "WORKDIR www",
    "ONBUILD RUN make",
    "STOPSIGNAL SIGQUIT",
    "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f http://localhost/",
  ]);
  assert.deepEqual(config, {
    Env: ["A=1", "B=kept", "C=two words", "OLD=the old form"],
    Cmd: ["a", "b"],
    Entrypoint: ["/bin/sh", "-c", "run it"],
    ExposedPorts: { "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {} },
    Labels: { a: "b c", d: "e" },
    User: "1000:1000",
    Volumes: { "/a": {}, "/b c": {}, "/d": {}, "/e": {} },
    WorkingDir: "/srv/www",
    OnBuild: ["RUN make"],
    StopSignal: "SIGQUIT",
    Healthcheck: { Interval: 90e9, Retries: 3, Test: ["CMD-SHELL", "curl -f http://localhost/"] },
  });
});

test("exec form of a health check, and none", () => {
  assert.deepEqual(applyChanges({}, ['HEALTHCHECK CMD ["a"]']).Healthcheck, { Test: ["CMD", "a"] });
  assert.deepEqual(applyChanges({}, ["HEALTHCHECK NONE"]).Healthcheck, { Test: ["NONE"] });
});

test("what is not allowed", () => {
  const cases: [string, RegExp][] = [
    ["RUN x", /^run is not a valid change command$/],
    ["FROM x", /^from is not a valid change command$/],
    ["CMD", /^CMD requires at least one argument$/],
    ["ENV A", /^ENV must have two arguments$/],
    ["ENV =x", /names can not be blank/],
    ["LABEL a=b c", /can't find = in "c"/],
    ['LABEL a="b', /matching quote/],
    ["EXPOSE http", /^Invalid containerPort: http$/],
    ["EXPOSE 90000", /^Invalid containerPort: 90000$/],
    ["USER a b", /exactly one argument/],
    ["ONBUILD ONBUILD RUN x", /Chaining ONBUILD/],
    ["ONBUILD FROM x", /FROM isn't allowed/],
    ["HEALTHCHECK --interval=x CMD y", /invalid duration/],
    ["HEALTHCHECK --nope=1s CMD y", /Unknown flag: nope/],
    ["HEALTHCHECK RUN y", /Unknown type "RUN"/],
    ["STOPSIGNAL a b", /Invalid signal/],
    ["constructor x", /not a valid change command/],
  ];
  for (const [change, message] of cases) {
    assert.throws(() => applyChanges({}, [change]), { code: "invalid", message }, change);
  }
});

test("the given configuration is not touched", () => {
  const before = { Env: ["A=1"], Labels: { a: "b" } };
  applyChanges(before, ["ENV A=2", "LABEL a=c"]);
  assert.deepEqual(before, { Env: ["A=1"], Labels: { a: "b" } });
});

test("variables stand for the environment's values, also those set before", () => {
  const changed = applyChanges({ Env: ["A=1", 'Q=two "words"', "EMPTY="] }, [
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the variables are the instruction's.
    "ENV B=$A C=${A}x D=\"q $Q\" E=${NONE:-default} F=${A:+yes} G=\\$A H='$A' I=$NONE",
    "ENV J=$B$Q",
    "ENV K some words $A",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the variables are the instruction's.
    "ENV L=${EMPTY:-filled} M=${EMPTY-kept}",
    "USER $A:x",
    "WORKDIR /srv/$A",
    'LABEL a=$A "b"="$Q"',
    "EXPOSE 8$A",
    "VOLUME /v$A",
    "CMD echo $A",
  ]);
  const lines = ["B=1", "C=1x", 'D=q two "words"', "E=default", "F=yes", "G=$A", "H=$A", "I="];
  lines.push('J=1two "words"', "K=some words 1", "L=filled", "M=");
  assert.deepEqual(changed.Env?.slice(3), lines);
  assert.equal(changed.User, "1:x");
  assert.equal(changed.WorkingDir, "/srv/1");
  assert.deepEqual(changed.Labels, { a: "1", b: 'two "words"' });
  assert.deepEqual(changed.ExposedPorts, { "81/tcp": {} });
  assert.deepEqual(changed.Volumes, { "/v1": {} });
  assert.deepEqual(changed.Cmd, ["/bin/sh", "-c", "echo $A"]);
  assert.throws(() => applyChanges({}, ["ENV A=${"]), { code: "invalid" });
});

test("a new entrypoint takes the old command away, one that is given along stays", () => {
  const before = { Cmd: ["old"], Entrypoint: ["x"] };
  assert.equal(applyChanges(before, ['ENTRYPOINT ["y"]']).Cmd, undefined);
  assert.deepEqual(applyChanges(before, ['CMD ["new"]', 'ENTRYPOINT ["y"]']).Cmd, ["new"]);
  assert.deepEqual(applyChanges(before, ['ENTRYPOINT ["y"]', 'CMD ["new"]']).Cmd, ["new"]);
});

test("names that are properties of every object are names", () => {
  const { Labels, Volumes } = applyChanges({ Labels: { a: "b" } }, ["LABEL __proto__=x", "VOLUME __proto__"]);
  assert.deepEqual(Object.entries(Labels ?? {}), [
    ["a", "b"],
    ["__proto__", "x"],
  ]);
  assert.deepEqual(Object.entries(Volumes ?? {}), [["__proto__", {}]]);
});

test("what no instruction is about stays as it is", () => {
  const config = { Env: ["A=1", "B", "A=2"], Labels: {}, Volumes: null };
  assert.deepEqual(applyChanges(config, ["USER $A"]), { ...config, User: "2" });
  assert.deepEqual(applyChanges(config, ["ENV B=3"]).Env, ["A=2", "B=3"]);
});

test("the cost of changes grows with their number alone", () => {
  const each = (line: (index: number) => string) => Array.from({ length: 20_000 }, (_, index) => line(index));
  const environment = Array.from({ length: 100_000 }, (_, index) => `V${index}=x`);
  const cases: [what: string, run: () => unknown][] = [
    ["EXPOSE", () => applyChanges({}, ["EXPOSE 1-65535"])],
    [
      "EXPOSE lines",
      () =>
        applyChanges(
          {},
          each((index) => `EXPOSE ${index + 1}`),
        ),
    ],
    [
      "ENV lines",
      () =>
        applyChanges(
          {},
          each((index) => `ENV A${index}=x`),
        ),
    ],
    [
      "LABEL lines",
      () =>
        applyChanges(
          {},
          each((index) => `LABEL a${index}=x`),
        ),
    ],
    ["VOLUME", () => applyChanges({}, [`VOLUME ${JSON.stringify(each((index) => `/${index}`))}`])],
    [
      "ONBUILD lines",
      () =>
        applyChanges(
          {},
          each((index) => `ONBUILD RUN ${index}`),
        ),
    ],
    [
      "lines with a large environment",
      () =>
        applyChanges(
          { Env: environment },
          each(() => "USER $V1"),
        ),
    ],
  ];
  for (const [what, run] of cases) assert.ok(cpuTime(run) < 5_000, what);
});

test("what would become huge is refused", () => {
  const cases: [message: RegExp, changes: string[]][] = [
    [/^EXPOSE names more ports than there are$/, Array.from({ length: 1000 }, () => "EXPOSE 1-65535")],
    [
      /^the values of its variables are too long/,
      ["ENV A=xx", ...Array.from({ length: 60 }, () => "ENV A=$A$A")],
    ],
    [
      /^the values of its variables are too long/,
      [`ENV A=${"x".repeat(1e5)}`, `LABEL a=${"$A".repeat(1e5)}`],
    ],
    [/^WORKDIR is longer than a path can be$/, Array.from({ length: 20_000 }, () => "WORKDIR a")],
  ];
  for (const [message, changes] of cases) {
    const time = cpuTime(() => assert.throws(() => applyChanges({}, changes), { code: "invalid", message }));
    assert.ok(time < 5_000, String(message));
  }
});

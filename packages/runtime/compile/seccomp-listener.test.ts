import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createProgramBuilder } from "#program/program-builder.ts";
import { ProgramWriter } from "#runtime/compile/program-writer.ts";
import {
  announceListener,
  type NotifiedProcess,
  passListener,
  planListener,
} from "#runtime/compile/seccomp-listener.ts";
import type { SpecSeccomp } from "#runtime/spec-types.ts";

const notified = (
  seccomp: Partial<SpecSeccomp> = {},
  change: Partial<NotifiedProcess> = {},
): NotifiedProcess => ({
  id: "box",
  bundle: "/bundle",
  rootless: false,
  spec: {
    ociVersion: "1.2.0",
    linux: {
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        listenerPath: "/run/agent.sock",
        syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }],
        ...seccomp,
      },
    },
  },
  ...change,
});

function written(process: NotifiedProcess) {
  const w = new ProgramWriter(createProgramBuilder("x64"), "x64");
  const listening = planListener(w, process);
  if (listening === undefined) return undefined;
  const [pid, listener] = [w.b.register("pid"), w.b.register("listener")];
  const failed = w.b.label("failed");
  passListener(w, listening, pid, failed);
  announceListener(w, listening, listener);
  w.b.place(failed);
  w.b.exit(0);
  const program = w.b.finish();
  return { listing: program.listing(), data: Buffer.from(program.bytes).toString("latin1") };
}

describe("a seccomp listener", () => {
  it("is nobody's business without a call that notifies", () => {
    assert.equal(written(notified({ syscalls: [] })), undefined);
    assert.equal(written({ ...notified(), spec: { ociVersion: "1.2.0" } }), undefined);
  });

  it("is taken out of the child and sent before the child goes on", () => {
    const { listing = "" } = written(notified()) ?? {};
    const order = ["read(", "FMTDEC", "pidfd_getfd(", "connect(", "sendmsg(", "let the child go on"];
    // Whatever is formatted when, the descriptor is there before it is sent, and sent before the child hears of it.
    for (const [before, after] of [
      ["read(", "pidfd_getfd("],
      ["pidfd_getfd(", "sendmsg("],
      ["connect(", "sendmsg("],
      ["sendmsg(", "let the child go on"],
    ] as const)
      assert.ok(listing.indexOf(before) < listing.indexOf(after), `${before} before ${after}`);
    for (const step of order) assert.ok(listing.includes(step), step);
    assert.doesNotMatch(listing, /SENDFD|RECVFD/);
  });

  it("is sent by the child where the parent is no root", () => {
    const { listing = "" } = written(notified({}, { rootless: true })) ?? {};
    assert.match(listing, /RECVFD/);
    assert.match(listing, /SENDFD/);
    assert.doesNotMatch(listing, /pidfd_getfd/);
    const sendmsg = [{ names: ["sendmsg"], action: "SCMP_ACT_NOTIFY" as const }];
    assert.throws(() => written(notified({ syscalls: sendmsg }, { rootless: true })), /sendmsg syscall/);
    assert.ok(written(notified({ syscalls: sendmsg })));
  });

  it("comes with a state around the pid", () => {
    const { data = "" } = written(notified({ listenerMetadata: "m" })) ?? {};
    const head = '{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":';
    const middle = ',"metadata":"m","state":{"ociVersion":"1.3.0","id":"box","status":"creating","pid":';
    for (const text of [head, middle, ',"bundle":"/bundle"}}']) assert.ok(data.includes(text), text);
    const exec = written(notified({}, { containerPid: 77 }))?.data ?? "";
    assert.ok(exec.includes('"status":"running","pid":77,"bundle":"/bundle"}}'));
  });

  it("needs a socket's address", () => {
    assert.throws(
      () => written(notified({ listenerPath: "agent.sock" })),
      /listenerPath: "agent.sock" is not an absolute/,
    );
    assert.throws(() => written(notified({ listenerPath: `/${"a".repeat(107)}` })), /at most 107 bytes/);
    assert.ok(written(notified({ listenerPath: `/${"a".repeat(106)}` })));
  });
});

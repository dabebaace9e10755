import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { deviceFilter } from "#runtime/cgroups/device-filter.ts";
import { DEFAULT_DEVICE_RULES, PRIVILEGED_DEVICE_RULES } from "#runtime/default-spec.ts";
import type { SpecDeviceRule } from "#runtime/spec-types.ts";

const BITS: Record<string, number> = { m: 1, r: 2, w: 4 };
const bitsOf = (access: string) => [...access].reduce((bits, letter) => bits | (BITS[letter] ?? 0), 0);

interface Access {
  type: "b" | "c";
  major: number;
  minor: number;
  access: string;
}

/** Runs the program as the kernel would. */
function run(program: Uint8Array, { type, major, minor, access }: Access): boolean {
  const view = new DataView(program.buffer);
  const context = [(bitsOf(access) << 16) | (type === "b" ? 1 : 2), major, minor];
  const r = new Array<number>(11).fill(0);
  for (let pc = 0; ; pc++) {
    const at = pc * 8;
    const code = view.getUint8(at);
    const to = view.getUint8(at + 1) & 15;
    const from = view.getUint8(at + 1) >> 4;
    const offset = view.getInt16(at + 2, true);
    const value = view.getInt32(at + 4, true);
    if (code === 0x61) r[to] = context[offset / 4] ?? Number.NaN;
    else if (code === 0xbc) r[to] = r[from] as number;
    else if (code === 0xb4) r[to] = value;
    else if (code === 0x54) r[to] = (r[to] as number) & value;
    else if (code === 0x74) r[to] = (r[to] as number) >>> value;
    else if (code === 0x55) pc += r[to] !== value ? offset : 0;
    else if (code === 0x5d) pc += r[to] !== r[from] ? offset : 0;
    else if (code === 0x15) pc += r[to] === value ? offset : 0;
    else if (code === 0x95) return r[0] === 1;
    else throw new Error(`instruction ${pc}: ${code}`);
  }
}

/** The last rule that speaks of the access decides. */
function judge(rules: readonly SpecDeviceRule[], asked: Access): boolean {
  for (const rule of rules.toReversed()) {
    const { type = "a", major = -1, minor = -1, access = "rwm" } = rule;
    if (type !== "a" && type !== asked.type) continue;
    if (major >= 0 && major !== asked.major) continue;
    if (minor >= 0 && minor !== asked.minor) continue;
    const wanted = bitsOf(asked.access);
    const covered = wanted & bitsOf(access);
    if (rule.allow ? covered === wanted : covered !== 0) return rule.allow;
  }
  return false;
}

describe("the device filter", () => {
  const ask = (
    rules: readonly SpecDeviceRule[],
    type: "b" | "c",
    major: number,
    minor: number,
    access: string,
  ) => run(deviceFilter(rules), { type, major, minor, access });

  it("lets a default container use its own devices and make nodes of any", () => {
    assert.ok(ask(DEFAULT_DEVICE_RULES, "c", 1, 3, "rw"));
    assert.ok(ask(DEFAULT_DEVICE_RULES, "c", 136, 7, "rw"));
    assert.ok(ask(DEFAULT_DEVICE_RULES, "b", 8, 0, "m"));
    assert.ok(!ask(DEFAULT_DEVICE_RULES, "b", 8, 0, "r"));
    assert.ok(!ask(DEFAULT_DEVICE_RULES, "c", 10, 229, "rw"));
    assert.ok(!ask([], "c", 1, 3, "r"));
  });

  it("is short where everything is allowed", () => {
    assert.equal(deviceFilter(PRIVILEGED_DEVICE_RULES).length / 8, 8);
    assert.ok(ask(PRIVILEGED_DEVICE_RULES, "b", 8, 0, "rwm"));
  });

  it("says the same as the rules", () => {
    const small = fc.integer({ min: -1, max: 3 });
    const access = fc.constantFrom("r", "w", "m", "rw", "rwm", "wm");
    const rule = fc.record({
      allow: fc.boolean(),
      type: fc.constantFrom("a", "b", "c"),
      major: small,
      minor: small,
      access,
    });
    const asked = fc.record({
      type: fc.constantFrom("b" as const, "c" as const),
      major: fc.nat(3),
      minor: fc.nat(3),
      access,
    });
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 8 }), asked, (rules, access) => {
        assert.equal(run(deviceFilter(rules), access), judge(rules, access));
      }),
      { numRuns: 3000 },
    );
  });

  it("refuses rules that are none", () => {
    assert.throws(() => deviceFilter([{ allow: true, type: "x" }]), /invalid device rule/);
    assert.throws(() => deviceFilter([{ allow: true, access: "rx" }]), /invalid device rule/);
  });
});

/**
 * Makes syscall-table.ts from the kernel's own headers. Run by hand when headers bring new calls:
 *
 *   node generate-syscall-table.ts x64=DIR x86=DIR x32=DIR arm64=DIR arm=DIR > syscall-table.ts
 *
 * Each DIR is an include directory that holds asm/unistd.h of that architecture (Debian: linux-libc-dev and its
 * -arm64-cross and -armhf-cross packages). Needs a C compiler, whose preprocessor does the reading.
 */
import { execFileSync } from "node:child_process";
import { ARCHITECTURES, type Architecture } from "./syscall-numbers.ts";

/** What the preprocessor has to be told to take the branch of an architecture other than its own. */
const selectors: Record<Architecture, string[]> = {
  x64: ["-D__x86_64__"],
  x32: ["-D__x86_64__", "-D__ILP32__"],
  x86: ["-U__x86_64__", "-D__i386__"],
  arm64: ["-U__x86_64__", "-D__aarch64__", "-D__BITS_PER_LONG=64"],
  arm: ["-U__x86_64__", "-D__arm__", "-D__ARM_EABI__"],
};

/** Calls newer than the headers at hand. From 403 on, a number is the same on every architecture. */
const recent: Record<string, number> = {
  cachestat: 451,
  fchmodat2: 452,
  map_shadow_stack: 453,
  futex_wake: 454,
  futex_wait: 455,
  futex_requeue: 456,
  statmount: 457,
  listmount: 458,
  lsm_get_self_attr: 459,
  lsm_set_self_attr: 460,
  lsm_list_modules: 461,
  mseal: 462,
  setxattrat: 463,
  getxattrat: 464,
  listxattrat: 465,
  removexattrat: 466,
  open_tree_attr: 467,
  file_getattr: 468,
  file_setattr: 469,
};

/** Calls outside the common range: two of x86-64's probes, and ARM's private ones. */
const special: Partial<Record<Architecture, Record<string, number>>> = {
  x64: { uretprobe: 335, uprobe: 336 },
  arm: { breakpoint: 0xf0001, cacheflush: 0xf0002, usr26: 0xf0003, usr32: 0xf0004, set_tls: 0xf0005 },
};

/** Macros of the headers that name no call. */
const notCalls =
  /^(syscalls|syscall_count|SYSCALL_BASE|OABI_SYSCALL_BASE|arch_specific_syscall|sync_file_range2_arm)$/;

function readNumbers(arch: Architecture, include: string): Map<string, number> {
  const preprocess = (input: string, ...options: string[]) =>
    execFileSync("cc", ["-E", ...options, "-nostdinc", "-I", include, ...selectors[arch], "-"], {
      input,
      encoding: "utf8",
      maxBuffer: 1 << 24,
    });
  const header = "#include <asm/unistd.h>\n";
  const names = [...preprocess(header, "-dM").matchAll(/^#define __NR_(\w+)\s/gm)]
    .map((match) => match[1] ?? "")
    .filter((name) => !notCalls.test(name));
  const expanded = preprocess(header + names.map((name) => `@ ${name} __NR_${name}\n`).join(""), "-P");
  const numbers = new Map<string, number>();
  for (const [, name, text] of expanded.matchAll(/^@ (\w+) (.*)$/gm)) {
    // A bare number, a sum, or x32's flag bit ORed in; the flag is put back by syscall-numbers.ts.
    const sum = (text ?? "").replace(/0x40000000 *[+|]/g, "").replace(/[()]/g, "");
    if (!/^[\s\d+xa-fA-F]+$/.test(sum)) continue;
    numbers.set(
      name ?? "",
      sum.split("+").reduce((total, term) => total + Number(term), 0),
    );
  }
  for (const [name, number] of Object.entries(recent)) if (!numbers.has(name)) numbers.set(name, number);
  for (const [name, number] of Object.entries(special[arch] ?? {})) numbers.set(name, number);
  return numbers;
}

const tables = new Map<Architecture, Map<string, number>>();
for (const argument of process.argv.slice(2)) {
  const [arch, directory] = argument.split("=") as [Architecture, string];
  tables.set(arch, readNumbers(arch, directory));
}
const names = [...new Set([...tables.values()].flatMap((table) => [...table.keys()]))].sort();
console.log(
  "/** System call numbers, made by generate-syscall-table.ts from kernel headers. Do not edit. */\n",
);
console.log(
  `/** Name → number on ${ARCHITECTURES.join(", ")}; -1 where there is none. x32 without its flag bit. */`,
);
console.log("export const SYSCALL_TABLE: Readonly<Record<string, readonly number[]>> = {");
for (const name of names) {
  const row = ARCHITECTURES.map((arch) => tables.get(arch)?.get(name) ?? -1);
  console.log(`  ${name}: [${row.join(", ")}],`);
}
console.log("};");

/** docs/runtime.md tells of every field of the specification, and every test that it names is there. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { MOUNT_OPTION_WORDS } from "#runtime/mount-options.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The fields of config.md and config-linux.md, version 1.3: {a,b} stands for each, * for any key. */
const FIELDS = `
ociVersion annotations hostname domainname windows solaris vm zos freebsd
root.{path,readonly}
mounts mounts[].{destination,type,source,options,uidMappings,gidMappings}
process process.{terminal,cwd,env,args,commandLine,apparmorProfile,noNewPrivileges,oomScoreAdj,selinuxLabel}
process.consoleSize.{height,width}
process.rlimits[].{type,soft,hard}
process.capabilities.{bounding,effective,permitted,inheritable,ambient}
process.scheduler.{policy,nice,priority,flags,runtime,deadline,period}
process.ioPriority.{class,priority}
process.execCPUAffinity.{initial,final}
process.user.{uid,gid,umask,additionalGids,username}
hooks.{prestart,createRuntime,createContainer,startContainer,poststart,poststop}
hooks.*[].{path,args,env,timeout}
linux.namespaces[].{type,path}
linux.uidMappings[].{containerID,hostID,size}
linux.gidMappings[].{containerID,hostID,size}
linux.timeOffsets.*.{secs,nanosecs}
linux.devices[].{type,path,major,minor,fileMode,uid,gid}
linux.netDevices.*.name
linux.{cgroupsPath,rootfsPropagation,maskedPaths,readonlyPaths,mountLabel,sysctl}
linux.resources.devices[].{allow,type,major,minor,access}
linux.resources.memory.{limit,reservation,swap,kernel,kernelTCP,swappiness,disableOOMKiller,useHierarchy,checkBeforeUpdate}
linux.resources.cpu.{shares,quota,burst,period,realtimeRuntime,realtimePeriod,cpus,mems,idle}
linux.resources.blockIO.{weight,leafWeight,weightDevice,throttleReadBpsDevice,throttleWriteBpsDevice,throttleReadIOPSDevice,throttleWriteIOPSDevice}
linux.resources.hugepageLimits[].{pageSize,limit}
linux.resources.network.classID
linux.resources.network.priorities[].{name,priority}
linux.resources.pids.limit
linux.resources.rdma.*.{hcaHandles,hcaObjects}
linux.resources.unified
linux.intelRdt.{closID,schemata,l3CacheSchema,memBwSchema,enableMonitoring}
linux.memoryPolicy.{mode,nodes,flags}
linux.seccomp.{defaultAction,defaultErrnoRet,architectures,flags,listenerPath,listenerMetadata}
linux.seccomp.syscalls[].{names,action,errnoRet}
linux.seccomp.syscalls[].args[].{index,value,valueTwo,op}
linux.personality.{domain,flags}
`;

/** Those that say something to other systems only. */
const ELSEWHERE = [
  "windows",
  "solaris",
  "vm",
  "zos",
  "freebsd",
  "process.commandLine",
  "process.user.username",
];

interface Row {
  fields: string[];
  what: string;
  tests: string;
}

const text = readFileSync(join(ROOT, "docs/runtime.md"), "utf8");
const sections = text.split(/^## /m).slice(1);
const rows = (section: string): Row[] =>
  section
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => {
      const [fields = "", what = "", tests = ""] = line
        .split(" | ")
        .map((cell) => cell.replace(/^\| | \|$/g, ""));
      return { fields: [...fields.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name), what, tests };
    });
const isWords = (section: string) => section.startsWith("Words of");
const fieldRows = sections.filter((section) => !isWords(section)).flatMap(rows);
const wordRows = sections.filter(isWords).flatMap(rows);

function expand(pattern: string): string[] {
  const [, before = "", choices = "", after = ""] = /^(.*)\{(.*)\}(.*)$/.exec(pattern) ?? [];
  return choices === "" ? [pattern] : choices.split(",").map((choice) => `${before}${choice}${after}`);
}

describe("the table of the specification", () => {
  it("has every field, once", () => {
    const expected = FIELDS.trim().split(/\s+/).flatMap(expand);
    assert.deepEqual(fieldRows.flatMap(({ fields }) => fields).sort(), expected.sort());
  });

  it("has every word of the mount options, once", () => {
    const words = wordRows.flatMap(({ fields }) => fields);
    assert.deepEqual(words.sort(), [...MOUNT_OPTION_WORDS].sort());
  });

  it("says of each what becomes of it, and which test shows it", () => {
    for (const { fields, what, tests } of [...fieldRows, ...wordRows]) {
      const name = fields.join(", ");
      assert.ok(what.length > 2, name);
      if (fields.every((field) => ELSEWHERE.includes(field))) assert.equal(tests, "another platform's", name);
      else assert.match(tests, /^`[^`]+\.ts`: "[^"]+"/, name);
    }
  });

  it("names no test that is not there", () => {
    const named = [...text.matchAll(/`([^` ]+\.ts)`: "([^"]+)"/g)];
    assert.ok(named.length > 100);
    for (const [, file = "", name = ""] of named) {
      const path = join(ROOT, file);
      assert.ok(existsSync(path), `${file} is missing`);
      // As a literal, or as the end of one that begins with a variable, or the beginning of one that ends so.
      const literal = ["`", '"', "} "].some((before) =>
        readFileSync(path, "utf8").includes(`${before}${name}`),
      );
      assert.ok(literal, `${file} has no test "${name}"`);
    }
  });
});

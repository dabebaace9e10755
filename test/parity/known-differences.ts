/**
 * Where Berth's answer is not that of Debian's dockerd (20.10), with the reason why it's the better one. Everything that is
 * not here has to be equal; what is here and has become equal has to be taken out.
 */
import type { Answer } from "#test/parity/engines.ts";

/** Wording that later releases of Docker have changed, and their clients' scripts expect: dockerd's text is brought up to date. */
const NEWER_WORDS: readonly [RegExp, string][] = [
  [
    /(?<!container: )failed to create shim task: OCI/g,
    "failed to create task for container: failed to create shim task: OCI",
  ],
  [/\bInvalid filter '/g, "invalid filter '"],
  [/\bInvalid signal: /g, "invalid signal: "],
  [/\bInvalid isolation: /g, "invalid isolation: "],
  [/\bUnable to find (user|group) /g, "unable to find $1 "],
  [/Unknown runtime specified (\S+)/g, "unknown or invalid runtime name: $1"],
  [
    /invalid restart policy '(\w+)'/g,
    "invalid restart policy: unknown policy '$1'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
  ],
  [
    /maximum retry count cannot be used with restart policy '\w+'/g,
    "invalid restart policy: maximum retry count can only be used with 'on-failure'",
  ],
  [
    /Cannot kill container: (\S+): Container (\S+) is not running/g,
    "cannot kill container: $1: container $2 is not running",
  ],
  [/Cannot kill container: /g, "cannot kill container: "],
  [
    /You cannot remove a (\w+) container <id>\. Stop the container before attempting removal or force remove/g,
    'cannot remove container "/two": container is $1: stop the container before removing or force remove',
  ],
  // RFC 4291 has no address ff00::0 that would be another than this.
  [/ff00::0/g, "ff00::"],
  [/^(search .*\n)(nameserver .*\n)/gm, "$2$1"],
];

export function inNewerWords({ code, stdout, stderr }: Answer): Answer {
  return { code, stdout: renewed(stdout), stderr: renewed(stderr) };
}

export function renewed(text: string): string {
  return NEWER_WORDS.reduce((words, [old, now]) => words.replace(old, now), text);
}

/** Of what inspect shows. */
export const fieldsApart: readonly (readonly [RegExp, string])[] = [
  [/^\.HostConfig\.NetworkMode$/, 'who names no network is on "bridge", as Docker has it since API 1.44'],
  [/^\.HostConfig\.Runtime$/, "the runtime is Berth's own"],
  [/^\.HostConfig\.KernelMemory(TCP)?$/, "left the API with 1.42: kernels have no such limit any more"],
  [/^\.HostConfig\.MaskedPaths$/, "those that Docker masks today: interrupts and power tell of neighbours"],
  [
    /^\.NetworkSettings\.Networks\.\w+\.(GwPriority|DNSNames)$/,
    "came with API 1.44 and 1.48; older clients pass over them",
  ],
];

/** Command lines whose answers are others as a whole. */
export const linesApart: Readonly<Record<string, string>> = {
  "create --ipc bogus berth/busybox true": "refused when it is made, not when it is started",
  "create --ip 10.1.1.1 berth/busybox true": "refused when it is made, as Docker has it today",
  "create --ip6 fe80::1 berth/busybox true": "refused when it is made, as Docker has it today",
  "create UPPER/case true": "the first part is a registry's name, which may have capitals",
  "run --rm --privileged berth/busybox grep -c . /proc/self/mountinfo":
    "where the host itself lacks a capability, a privileged container has what there is",
  "run --rm --init berth/busybox ps": "the second process is number 2",
  "exec -w /nosuch one pwd": "127 for what isn't there, as Docker has it today",
  "exec one nosuch": "127 for a program that isn't there, as Docker has it today",
  "create --storage-opt size=1G berth/busybox true": "says which file system that is and what it lacks, too",
  "run nosuchimage:bogus true": "with what to do about it",
  "pull localhost:1/nosuch": "with what to do about it",
  "search nosuch": "with what to do about it",
  "create --mount type=volume,src=vv,dst=/x,volume-driver=nosuch berth/busybox true":
    "dockerd has the client pull the image, which is not what is missing",
  "create --mount type=volume,src=vz,dst=/x,volume-driver=nosuch berth/busybox true":
    "dockerd has the client pull the image, which is not what is missing",
  "create --volume-driver nosuch -v nodriver:/x berth/busybox true":
    "dockerd has the client pull the image, which is not what is missing",
  "volume create --opt type=tmpfs --opt device=tmpfs --opt size=1g vq":
    "says which file system that is and what it lacks, too",
  "run --rm --network none -v vfs:/x berth/busybox true": "with what to do about it",
  "login localhost:1 -u x -p y": "with what to do about it",
};

/**
 * Limits on how much may be written below directories of the daemon's: containers' layers, volumes.
 *
 * Every limited directory is a project of its own. Numbers of projects are a matter of the whole file system, which others may
 * use, too: so they are taken at random, and only where nothing is counted or limited under them. Which one a directory
 * has is kept by the file system; nothing else has to be remembered.
 */
import { randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { FileDescriptor } from "#kernel/fd.ts";
import { fstatfs } from "#kernel/file-system-status.ts";
import {
  keepsProjectLimits,
  limitProject,
  projectOf,
  projectUsage,
  setProject,
} from "#kernel/project-quota.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";

/** Below are numbers that people write into /etc/projid, and above those that not every tool reads. */
const firstProject = 1 << 20;
const lastProject = 0x7fffffff;
/** Numbers tried; even on a file system full of them the second is free. */
const attempts = 100;

/** There as soon as xfs is, if the kernel was built with its quotas (fs/xfs/xfs_stats.c). */
const xfsQuotaStatistics = "/proc/fs/xfs/xqmstat";

/** Mount options that have limits of projects kept, by the name of the file system. */
const mountOptions = new Map([
  ["xfs", "pquota"],
  ["extfs", "prjquota"],
]);

export class ProjectLimits {
  private constructor() {}

  /** Undefined where the file system of a directory keeps no such limits; `missingQuota` says why. */
  static in(path: string): ProjectLimits | undefined {
    using directory = openDirectory(path);
    return mountOptions.has(fstatfs(directory.number).name) && keepsProjectLimits(directory.number)
      ? new ProjectLimits()
      : undefined;
  }

  /** Limits what is written below an empty directory, in bytes. */
  apply(path: string, bytes: number): void {
    using directory = openDirectory(path);
    const project = freeProject(directory.number);
    setProject(directory.number, project);
    limitProject(directory.number, project, bytes);
  }

  /** Takes the limit away from a directory that is about to be deleted, should it have one. */
  release(path: string): void {
    using directory = openDirectory(path);
    const project = projectOf(directory.number) ?? 0;
    // Smaller numbers are not ours.
    if (project >= firstProject) limitProject(directory.number, project, 0);
  }

  /** What is used below a directory and may be, in bytes; undefined for one without a limit. */
  usage(path: string): { used: number; limit: number } | undefined {
    using directory = openDirectory(path);
    const project = projectOf(directory.number) ?? 0;
    return project === 0 ? undefined : projectUsage(directory.number, project);
  }
}

/** Why there are no limits below a directory: "/var/lib/berth is on ext4, mounted without prjquota". */
export function missingQuota(path: string): string {
  using directory = openDirectory(path);
  const { name } = fstatfs(directory.number);
  const shown = name === "extfs" ? "ext4" : name;
  const option = mountOptions.get(name);
  if (option === undefined) return `${path} is on ${shown}, which has no project quotas`;
  if (name === "xfs" && !existsSync(xfsQuotaStatistics))
    return `${path} is on xfs, whose quotas this kernel lacks`;
  const features = name === "extfs" ? ", with the features project and quota" : "";
  return `${path} is on ${shown} without the mount option ${option}${features}`;
}

function freeProject(fd: number): number {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const project = randomInt(firstProject, lastProject);
    const { limit, used, files } = projectUsage(fd, project);
    if (limit === 0 && used === 0 && files === 0) return project;
  }
  throw new Error("no number is free for another project quota");
}

function openDirectory(path: string): FileDescriptor {
  return new FileDescriptor(open(path, O_RDONLY | O_DIRECTORY));
}

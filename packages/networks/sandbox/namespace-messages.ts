/** What a thread is told that works in a container's namespace, and what it answers. */

export interface NamespaceTask {
  /** "/proc/123/ns/net" */
  path: string;
  /** Files under /proc/sys and their values, written first. */
  sysctls: Record<string, string>;
  requests: { why: string; bytes: Uint8Array; ignore?: number }[];
}

/** The failure of the first step that failed, with the kernel's name for it ("ENOMEM"); nothing else was done after it. */
export type NamespaceAnswer = { failed: string | undefined; code?: string | undefined };

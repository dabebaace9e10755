/** One mount or unmount of a volume, as system calls. Blocks for as long as the file system takes. */
import { MNT_DETACH, mount, umount2 } from "#kernel/mount-syscalls.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { MS } from "#volumes/mount-options.ts";

export type MountTask =
  | {
      kind: "mount";
      source: string;
      target: string;
      type: string;
      flags: number;
      data: string;
      propagation: number;
    }
  | { kind: "unmount"; target: string };

/** Throws SyscallError. */
export function performMount(task: MountTask): void {
  if (task.kind === "unmount") {
    unmount(task.target);
    return;
  }
  const { source, target, type, flags, data, propagation } = task;
  mount(source, target, type, flags, data);
  try {
    if (propagation !== 0) mount("", target, "", propagation);
    // A new bind has the options of what it shows; only a second call gives it its own.
    if ((flags & (MS.BIND | MS.RDONLY)) === (MS.BIND | MS.RDONLY)) mount("", target, "", flags | MS.REMOUNT);
  } catch (error) {
    unmount(target);
    throw error;
  }
}

function unmount(target: string): void {
  try {
    umount2(target);
  } catch (error) {
    // Somebody on the host still looks at it: it is gone for everybody else.
    if (!isErrno(error, "EBUSY")) throw error;
    umount2(target, MNT_DETACH);
  }
}

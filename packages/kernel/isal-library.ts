/**
 * Intel's ISA-L, Debian's libisal2, which packs and unpacks gzip several times faster than zlib. Optional: who uses it has another
 * way where it is not installed.
 */
import { type Bind, openLibrary } from "#kernel/libc.ts";

/** Debian's name for it; the number is the library's binary interface. */
const name = "libisal.so.2";

/**
 * A way to get what `bindAll` answers, which is asked once in a thread; always undefined where the library is not there, lacks a
 * function, or `bindAll` answers undefined.
 */
export function isalBinding<Functions>(
  bindAll: (bind: Bind) => Functions | undefined,
): () => Functions | undefined {
  let bound: { functions: Functions | undefined } | undefined;
  return () => {
    bound ??= { functions: tryBinding(bindAll) };
    return bound.functions;
  };
}

function tryBinding<Functions>(bindAll: (bind: Bind) => Functions | undefined): Functions | undefined {
  try {
    return bindAll(openLibrary(name));
  } catch {
    return undefined; // not installed: node:zlib does the same, more slowly
  }
}

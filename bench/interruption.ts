/** Ctrl-C and the like: what goes on is given up, so that everything that was started is ended and removed in order. */

export class Interrupted extends Error {}

let interrupted = false;
const { promise, reject } = Promise.withResolvers<never>();
promise.catch(() => undefined);

/** From now on signals interrupt; a second one ends this process where it is. */
export function heedSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (interrupted) process.exit(130);
      interrupted = true;
      console.error(`bench: ${signal}: removing what was started …`);
      reject(new Interrupted(signal));
    });
  }
}

/** The work's result, or Interrupted as soon as a signal comes. */
export async function unlessInterrupted<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined); // Nobody waits for it any more once a signal came.
  return await Promise.race([promise, work]);
}

/** Throws Interrupted after a signal. */
export function checkInterrupted(): void {
  if (interrupted) throw new Interrupted("interrupted");
}

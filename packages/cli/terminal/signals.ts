/** Signals that the client gets are the container's: it passes them on and does not act on them itself. */

/** Not those that stop or end without asking, that the kernel sends for faults, or that say something of this process alone. */
const proxied: readonly NodeJS.Signals[] = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGTERM",
  "SIGCONT",
  "SIGTSTP",
];

/** Hands every signal to `forward` until it is disposed of. */
export function proxySignals(forward: (signal: string) => Promise<unknown>): Disposable {
  const listeners = proxied.map((signal) => {
    // The container may have ended meanwhile; then there is nobody to tell.
    const listener = () => void forward(signal).catch(() => {});
    process.on(signal, listener);
    return [signal, listener] as const;
  });
  return {
    [Symbol.dispose]() {
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}

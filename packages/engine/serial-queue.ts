/**
 * One queue per object: operations on a container run one after another, operations on different containers do not
 * know of each other. There is no global lock. Reads do not enter a queue.
 */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();

  /** Runs `operation` after everything queued before it has settled; answers (or throws) what it does. */
  run<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(operation, operation);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** Writing what must be written in the end, whatever the disk says now. */

/** ms until it is tried again. */
const AGAIN = 1000;

/** Writes to the database, now or as soon as the disk lets it. `failed` is told of every time that it does not; never throws. */
export function storeSurely(write: () => void, failed: (error: unknown) => void): void {
  try {
    write();
  } catch (error) {
    failed(error);
    setTimeout(() => storeSurely(write, failed), AGAIN).unref();
  }
}

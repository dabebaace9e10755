/** What the user should know though it is no failure. The command line decides where it goes. */
let sink: (message: string) => void = () => undefined;

/** Sets where warnings go. */
export function onWarning(listener: (message: string) => void): void {
  sink = listener;
}

export function warn(message: string): void {
  sink(message);
}

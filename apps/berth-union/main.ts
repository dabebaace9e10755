/** The program that serves unions: `berth-union SOCKET`. Composition only; it ends when nobody needs it any more. */
import { listen } from "#storage/union/union-listener.ts";
import { UnionServer } from "#storage/union/union-server.ts";

async function boot(path: string | undefined): Promise<void> {
  if (path === undefined || !path.startsWith("/")) throw new Error("usage: berth-union SOCKET");
  const fault = (message: string) => process.stderr.write(`berth-union: ${message}\n`);
  const stays = await listen(
    path,
    () => new UnionServer(fault),
    () => process.exit(0),
  );
  if (!stays) process.exit(0);
}

// A line that cannot be written (a full disk, a reader that has ended) is lost, and no mount with it.
process.stderr.on("error", () => {});
boot(process.argv[2]).catch((error: unknown) => {
  process.stderr.write(`berth-union: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});

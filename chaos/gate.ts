/** A way to the registry that can be cut: every connection through it ends at once, the next ones pass again. */
import { connect, createServer, type Server, type Socket } from "node:net";

export class Gate {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  cuts = 0;
  /** Bytes from the registry after which a connection is cut; undefined for never. */
  #allowance: number | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** `port`: of the registry on loopback. */
  static async to(port: number): Promise<Gate> {
    const server = createServer();
    const gate = new Gate(server);
    server.on("connection", (near) => {
      const far = connect(port, "127.0.0.1");
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        gate.#open.add(one);
        one.on("error", () => {});
        one.on("close", () => {
          gate.#open.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
      let passed = 0;
      far.on("data", (chunk: Buffer) => {
        passed += chunk.length;
        if (gate.#allowance === undefined || passed <= gate.#allowance) return;
        gate.cuts++;
        near.resetAndDestroy();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return gate;
  }

  get host(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  /** From now on every connection is cut after so many bytes of the registry's; undefined: no more. */
  cutAfter(bytes: number | undefined): void {
    this.#allowance = bytes;
  }

  cut(): void {
    this.cuts++;
    for (const socket of this.#open) socket.resetAndDestroy();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

/** Datagrams to one host. UDP tells nobody what became of them: they count as delivered when they have left. */
import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

export class UdpTarget {
  readonly #host: string;
  readonly #port: number;
  #socket: Socket | undefined;
  #address = "";

  constructor(host: string, port: number) {
    this.#host = host === "" ? "127.0.0.1" : host;
    this.#port = port;
  }

  async send(datagrams: readonly Uint8Array[]): Promise<void> {
    const socket = await this.#open();
    try {
      for (const datagram of datagrams) {
        await new Promise<void>((resolve, reject) => {
          socket.send(datagram, this.#port, this.#address, (error) => {
            // No other attempt makes it shorter.
            if (error && (error as NodeJS.ErrnoException).code !== "EMSGSIZE") reject(error);
            else resolve();
          });
        });
      }
    } catch (error) {
      // Its address may have changed.
      this.close();
      throw error;
    }
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  async #open(): Promise<Socket> {
    if (this.#socket !== undefined) return this.#socket;
    const { address, family } =
      isIP(this.#host) === 0 ? await lookup(this.#host) : { address: this.#host, family: isIP(this.#host) };
    this.#address = address;
    this.#socket = createSocket(family === 6 ? "udp6" : "udp4");
    this.#socket.on("error", () => undefined);
    this.#socket.unref();
    return this.#socket;
  }
}

/** Docker's stream framing: one byte of stream (1 stdout, 2 stderr), three zeros, the length big-endian, the bytes. */
export function frame(stream: 1 | 2, content: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(content.length, 4);
  return Buffer.concat([head, content]);
}

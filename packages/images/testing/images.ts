/**
 * Small images for tests.
 */
import { type BuiltImage, buildImage, buildTar } from "../archive-build.ts";
import { hostPlatform } from "../platform.ts";

/** A layer of one file. */
export function fileLayer(name: string, content: string | Buffer = name): Buffer {
  return buildTar([{ type: "file", name, content }]);
}

/** An image for this machine; `document` overrides its configuration document. */
export function testImage(layers: Buffer[], document: Record<string, unknown> = {}): BuiltImage {
  return buildImage(layers, {
    architecture: hostPlatform().architecture,
    os: "linux",
    created: "2024-01-02T03:04:05Z",
    config: { Cmd: ["sh"] },
    history: layers.map((_, index) => ({ created_by: `step ${index}` })),
    ...document,
  });
}

/**
 * Staging: the layers of an archive are unpacked while it arrives, before anybody knows which image they belong to. Plain
 * data that travels between the daemon and the worker that does it.
 */
import type { UnpackRequest, Whiteouts } from "#storage/driver-types.ts";

/** A driver's place for a layer without an identity. */
export interface Stage {
  /** What the driver knows it by. */
  key: string;
  /** Directories as of a layer. */
  target: string;
  layout: string;
}

export interface StageRequest extends Pick<UnpackRequest, "idMap" | "limits"> {
  /** Descriptor the archive is read from. Stays its owner's, who keeps it open until the task has ended. */
  source: number;
  /** As the driver's layers have them. */
  whiteouts: Whiteouts;
}

/** Where a small file came from, and what it holds. */
export interface StagedFile {
  name: string;
  content: Uint8Array;
}

export interface StagedLayer {
  name: string;
  /** Of its stage. */
  key: string;
  /** "sha256:…" of the file in the archive, compressed or not. */
  digest: string;
  diffId: string;
  /** Sum of the sizes of regular files, bytes. */
  size: number;
  /** The layer says what its root is like; otherwise that is as in the layer below. */
  describesRoot: boolean;
  /** Directories that are in the layer without being described: they are as in the layer below. */
  implied: string[];
}

export interface StagedArchive {
  files: StagedFile[];
  layers: StagedLayer[];
  /** Symbolic and hard links: name and where it leads, both inside the archive. */
  links: [name: string, target: string][];
  /** What could be no layer, with the reason; it only matters if an image needs it. */
  broken: { name: string; reason: string }[];
}

/** How far the layer that is arriving has come. */
export interface StageProgress {
  name: string;
  current: number;
  total: number;
}

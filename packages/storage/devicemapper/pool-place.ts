/** What a pool is made of: where its blocks are, and who takes it apart. */

export interface PoolPlace {
  /** The pool's name in the kernel. */
  name: string;
  /** Made here, of devices of ours: it goes when nothing in it is active. */
  own: boolean;
  /** The block devices; "" where somebody else's pool has them. */
  dataDevice: string;
  metadataDevice: string;
  /** The sparse files behind them; "" for none. */
  dataFile: string;
  metadataFile: string;
}

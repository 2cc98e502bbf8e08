/** How a dimension is split into shards: sizes differ by at most one, the larger first. */

export function shardSizes(dim: number, count: number): readonly number[] {
  const small = Math.floor(dim / count);
  const larger = dim % count;
  return Array.from({ length: count }, (_, shard) => small + (shard < larger ? 1 : 0));
}

/** Where each shard begins. */
export function shardOffsets(sizes: readonly number[]): readonly number[] {
  let offset = 0;
  return sizes.map((size) => {
    offset += size;
    return offset - size;
  });
}

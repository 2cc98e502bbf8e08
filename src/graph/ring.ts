/** What a collective sends: collectives go around a ring, in which every member sends to the next. */

/**
 * Bytes that a member sends of `bytes` of its own. A reduction moves every part around once to be summed, and once more for all to have the
 * sum; a gathering moves what each has to all others.
 */
export function bytesAroundRing(type: string, bytes: number, members: number): number {
  const isReduction = type.startsWith('CollectiveReduce');
  return isReduction ? Math.ceil((2 * bytes * (members - 1)) / members) : bytes * (members - 1);
}

/** ReadyHeap: a binary heap of node numbers, smallest first. */

export class ReadyHeap {
  readonly #items: number[] = [];

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  /** The smallest, or undefined. */
  pop(): number | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    items[this.#sink(last)] = last;
    return top;
  }

  /** Moves smaller children up from the root until `item` fits; gives the free place. */
  #sink(item: number): number {
    const items = this.#items;
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child >= items.length) return at;
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= item) return at;
      items[at] = items[child]!;
      at = child;
    }
  }
}

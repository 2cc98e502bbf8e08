/** Colocation groups: the attribute `_class` of an operation, a list of `loc:@name`. */
import { attr } from '../graph/attributes.js';
import type { Graph } from '../graph/graph.js';
import { printColocation } from '../graph/name.js';
import type { Operation } from '../graph/operation.js';
import { colocationTargets } from '../graph/verify.js';
import { Marks } from './walk.js';

const CLASS = '_class';

/** The operations that are in a group. No pass adds one. */
export function findGrouped(graph: Graph): Marks {
  const grouped = new Marks(graph);
  for (const operation of graph.operations()) {
    if (operation.attributes.get(CLASS)?.kind === 'list') grouped.add(operation);
  }
  return grouped;
}

/** Drops from every group what names the operation itself, nothing, or an operation that has come to another device. */
export function pruneColocation(graph: Graph, grouped: Iterable<Operation>): void {
  for (const operation of grouped) {
    const value = operation.attributes.get(CLASS);
    if (value?.kind !== 'list') continue;
    const targets = colocationTargets(operation);
    const kept = targets.filter((name) => {
      const target = graph.find(name);
      return target !== undefined && target !== operation && target.device === operation.device;
    });
    if (kept.length === value.items.length) continue;
    const items = kept.map((name) => attr.string(printColocation(name)));
    graph.setAttributes(operation, { [CLASS]: items.length === 0 ? undefined : attr.list(items) });
  }
}

/** Branches: a Switch leaves one side out, and with it all that depends on that, up to a Merge with a side that was taken. */
import type { Operation, Tensor } from '../../graph/operation.js';
import type { Flow } from './execution-plan.js';
import { forwarded } from './handles.js';
import type { Needed } from './plan-order.js';

/** What a branch may leave out: every Switch and all behind one. Merges too, as what is around them may be left out. */
export function leftOut(order: readonly Operation[], needed: Needed): ReadonlySet<Operation> {
  const found = new Set<Operation>();
  for (const operation of order) {
    if (operation.type === 'Switch' || needed(operation).some((other) => found.has(other)))
      found.add(operation);
  }
  return found;
}

export function runsWith(type: string): Flow['runsWith'] {
  if (type === 'Merge') return 'any';
  return type === 'ControlTrigger' ? 'none' : 'all';
}

/** Whether a handle comes through a branch, so that its consumers have to know whether that was taken. */
export function throughBranch(handle: Tensor): boolean {
  for (let at: Tensor | undefined = handle; at !== undefined; at = forwarded(at)) {
    const { type } = at.operation;
    if (type === 'Switch' || type === 'Merge') return true;
    if (type === 'Enter') return false;
  }
  return false;
}

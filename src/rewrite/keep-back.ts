/**
 * Error feedback: what a task does not send of a gradient it keeps, in a variable of its own, and adds to its next gradient. So nothing is lost
 * for good, only late.
 */
import { GradsyncError } from '../errors.js';
import { attr, attributes } from '../graph/attributes.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { isFullyKnown } from '../graph/shape.js';
import type { Variable } from '../graph/training-graph.js';
import { newName, operation, type Site, zeros } from './make.js';
import type { RewriteContext } from './pass.js';
import type { Residual } from './sending.js';
import { residualName } from './shared-objects.js';

export interface Feedback {
  /** The gradient, and all that was kept of those before. */
  readonly corrected: Tensor;
  readonly residual: Residual;
  /** Keeps `rest` for the next step: to be run in this one. */
  keep(rest: Tensor): Operation;
}

/** Adds the variable, of the gradient's shape; it begins as zeros. */
export function addFeedback(
  site: Site,
  { digest }: RewriteContext,
  of: Variable,
  gradient: Tensor,
): Feedback {
  const { dtype, shape, name } = of;
  if (!isFullyKnown(shape)) throw withoutShape(of);
  const type = attr.type(dtype);
  const handle = operation(site, newName(site, 'residual'), {
    type: 'VarHandleOp',
    attributes: attributes({
      dtype: type,
      shape: attr.shape(shape),
      container: attr.string(digest),
      shared_name: attr.string(residualName(name)),
    }),
  });
  const assign = (part: string, value: Tensor): Operation =>
    operation(site, newName(site, part), {
      type: 'AssignVariableOp',
      inputs: [handle.output(), value],
      attributes: attributes({ dtype: type }),
    });
  const read = operation(site, newName(site, 'residual_value'), {
    type: 'ReadVariableOp',
    inputs: [handle.output()],
    attributes: attributes({ dtype: type }),
  });
  const initializer = assign('residual_start', zeros(site, 'residual', shape, dtype));
  const corrected = operation(site, newName(site, 'corrected'), {
    type: 'AddV2',
    inputs: [gradient, read.output()],
    attributes: attributes({ T: type }),
  }).output();
  const variable: Variable = {
    name: handle.name,
    handle,
    kind: 'resource',
    dtype,
    shape,
    trainable: false,
    initialValue: undefined,
    initializer,
    reads: [read],
  };
  return { corrected, residual: { of, variable }, keep: (rest) => assign('residual_keep', rest) };
}

function withoutShape({ name }: Variable): GradsyncError {
  return new GradsyncError('UNIMPLEMENTED', `Variable "${name}"`, {
    expected: 'a known shape, as what compression loses is kept in a variable of that shape',
    received: 'an unknown one',
    remedy:
      'set the shape of the variable before the graph is exported, or use a compressor without error feedback',
    variable: name,
  });
}

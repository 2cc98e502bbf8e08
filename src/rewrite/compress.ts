/**
 * Compressors of dense gradients: what is sent in place of a gradient. With error feedback a task keeps what the encoding has lost, a variable
 * of its own, and adds it to its next gradient: so nothing is lost for good, only late.
 */
import { GradsyncError } from '../errors.js';
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import { isFullyKnown } from '../graph/shape.js';
import type { Variable } from '../graph/training-graph.js';
import type { CollectivePlan } from '../strategy/strategy.js';
import { cast, constant, newName, operation, type Site } from './make.js';
import type { RewriteContext } from './pass.js';
import { residualName } from './shared-objects.js';

type Compressor = CollectivePlan['compressor'];

/** The element type that travels; undefined for a gradient as it is. */
const WIRE: Readonly<Partial<Record<Compressor, DType>>> = {
  bfloat16: 'bfloat16',
  float16: 'float16',
  'float16-error-feedback': 'float16',
};

/** The type in which gradients of `dtype` travel. */
export function wireType(compressor: Compressor, dtype: DType): DType {
  return WIRE[compressor] ?? dtype;
}

export interface Compressed {
  readonly tensor: Tensor;
  /** Keeps what was lost: to be run in every step. */
  readonly keeps?: Operation;
  /** Where it is kept. */
  readonly residual?: Variable;
}

/** What is sent for a gradient of a variable. */
export function compress(
  site: Site,
  context: RewriteContext,
  variable: Variable,
  gradient: Tensor,
): Compressed {
  const { compressor } = context.collectives.get(variable.name)!;
  const { dtype } = variable;
  const wire = wireType(compressor, dtype);
  if (wire === dtype) return { tensor: gradient };
  if (!compressor.endsWith('error-feedback')) {
    return { tensor: cast(site, newName(site, 'compressed'), gradient, dtype, wire) };
  }
  if (!isFullyKnown(variable.shape)) throw withoutShape(variable);
  const residual = new Residual(site, context, variable);
  const corrected = residual.combine('corrected', 'AddV2', gradient, residual.value);
  const sent = cast(site, newName(site, 'compressed'), corrected, dtype, wire);
  const received = cast(site, newName(site, 'decompressed'), sent, wire, dtype);
  const lost = residual.combine('lost', 'Sub', corrected, received);
  return { tensor: sent, keeps: residual.keep(lost), residual: residual.variable };
}

/** One task's variable of what the encoding of one gradient has lost so far. */
class Residual {
  readonly variable: Variable;
  readonly value: Tensor;
  readonly #site: Site;
  readonly #type: ReturnType<typeof attr.type>;

  constructor(site: Site, { digest }: RewriteContext, { dtype, shape, name }: Variable) {
    this.#site = site;
    this.#type = attr.type(dtype);
    const handle = operation(site, newName(site, 'residual'), {
      type: 'VarHandleOp',
      attributes: attributes({
        dtype: this.#type,
        shape: attr.shape(shape),
        container: attr.string(digest),
        shared_name: attr.string(residualName(name)),
      }),
    });
    const read = operation(site, newName(site, 'residual_value'), {
      type: 'ReadVariableOp',
      inputs: [handle.output()],
      attributes: attributes({ dtype: this.#type }),
    });
    this.value = read.output();
    this.variable = {
      name: handle.name,
      handle,
      kind: 'resource',
      dtype,
      shape,
      trainable: false,
      initialValue: undefined,
      initializer: this.#assign('residual_start', handle, this.#zeros(shape ?? [], dtype)),
      reads: [read],
    };
  }

  combine(name: string, type: 'AddV2' | 'Sub', a: Tensor, b: Tensor): Tensor {
    const own = attributes({ T: this.#type });
    return operation(this.#site, newName(this.#site, name), {
      type,
      inputs: [a, b],
      attributes: own,
    }).output();
  }

  keep(lost: Tensor): Operation {
    return this.#assign('residual_keep', this.variable.handle, lost);
  }

  #zeros(shape: readonly number[], dtype: DType): Tensor {
    const site = this.#site;
    const dims = constant(site, newName(site, 'residual', 'shape'), 'int32', shape, [shape.length]);
    const zero = constant(site, newName(site, 'residual', 'zero'), dtype as 'float32' | 'float64', [0]);
    return operation(site, newName(site, 'residual', 'zeros'), {
      type: 'Fill',
      inputs: [dims, zero],
      attributes: attributes({ T: this.#type, index_type: attr.type('int32') }),
    }).output();
  }

  #assign(name: string, handle: Operation, value: Tensor): Operation {
    return operation(this.#site, newName(this.#site, name), {
      type: 'AssignVariableOp',
      inputs: [handle.output(), value],
      attributes: attributes({ dtype: this.#type }),
    });
  }
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

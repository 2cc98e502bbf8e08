/** Compressors of dense gradients that send every element, as a smaller type. */
import { attr, attributes } from '../graph/attributes.js';
import type { DType } from '../graph/dtype.js';
import type { Operation, Tensor } from '../graph/operation.js';
import type { CollectivePlan } from '../strategy/strategy.js';
import { addFeedback } from './keep-back.js';
import { cast, newName, operation } from './make.js';
import type { RewriteContext } from './pass.js';
import type { LocalGradient, Residual } from './sending.js';

type Compressor = CollectivePlan['compressor'];

/** The element type that travels; undefined for a gradient's own. */
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
  readonly residual?: Residual;
}

/** What is sent for a gradient. */
export function compress(context: RewriteContext, { site, variable, tensor }: LocalGradient): Compressed {
  const { compressor } = context.collectives.get(variable.name)!;
  const { dtype } = variable;
  const wire = wireType(compressor, dtype);
  if (wire === dtype) return { tensor };
  if (!compressor.endsWith('error-feedback')) {
    return { tensor: cast(site, newName(site, 'compressed'), tensor, dtype, wire) };
  }
  const { corrected, residual, keep } = addFeedback(site, context, variable, tensor);
  const sent = cast(site, newName(site, 'compressed'), corrected, dtype, wire);
  const received = cast(site, newName(site, 'decompressed'), sent, wire, dtype);
  const lost = operation(site, newName(site, 'lost'), {
    type: 'Sub',
    inputs: [corrected, received],
    attributes: attributes({ T: attr.type(dtype) }),
  }).output();
  return { tensor: sent, keeps: keep(lost), residual };
}

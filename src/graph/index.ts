/** The graph room's public names. */
export * from './attributes.js';
export { decodeGraphDef, encodeGraphDef } from './codec/graph-def.js';
export { decodeGraphFile } from './codec/graph-file.js';
export {
  type Collection,
  decodeMetaGraphDef,
  decodeVariableDef,
  encodeMetaGraphDef,
  type MetaGraph,
  type SaverDef,
  type VariableDef,
} from './codec/meta-graph-def.js';
export * from './device.js';
export { DTYPES, type DType } from './dtype.js';
export {
  GRADIENTS_COLLECTION,
  type NamedGradient,
  parseGradientPair,
  printGradientPair,
} from './gradient-text.js';
export { Graph, type GraphCopy, type NewOperation } from './graph.js';
export * from './name.js';
export * from './op-catalog.js';
export { Operation, type Origin, Tensor } from './operation.js';
export { type PrintOptions, printGraph, printOperation, printValue } from './print.js';
export { type ReadOptions, readTrainingGraph } from './read-training-graph.js';
export * from './shape.js';
export * from './training-graph.js';
export * from './traverse.js';
export { colocationTargets, verifyEdits, verifyGraph } from './verify.js';

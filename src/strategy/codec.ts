/** Strategy and JSON: strict reading (every field, every type, no unknown field) and one canonical way of writing. */
import { excerpt, GradsyncError } from '../errors.js';
import { JsonCursor } from './json-cursor.js';
import {
  ALGORITHMS,
  COMPRESSORS,
  type CollectivePlan,
  DEFAULT_K,
  type ParameterServerPlan,
  type PartitionPlan,
  SPARSE_WAYS,
  type Strategy,
  type SynchronizerPlan,
  TOP_K,
  type VariablePlan,
} from './strategy.js';

/**
 * Reads a strategy from JSON text.
 *
 * @throws GradsyncError INVALID_ARGUMENT naming the path of the field, what was expected and what came.
 * @example
 * ```ts
 * parseStrategy('{"format": 1, "builder": "mine", "replicas": ["localhost:CPU:0"], "variables": []}');
 * ```
 */
export function parseStrategy(text: string): Strategy {
  return decodeStrategy(parseJson(text, 'Strategy'));
}

/** JSON.parse with a typed error. */
export function parseJson(text: string, subject: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const received = cause instanceof Error ? cause.message : String(cause);
    throw new GradsyncError(
      'INVALID_ARGUMENT',
      subject,
      { expected: 'valid JSON', received: excerpt(received), remedy: 'correct the JSON' },
      { cause },
    );
  }
}

/** Reads a strategy from a parsed JSON value. The result is frozen, and its variables are sorted by name. */
export function decodeStrategy(value: unknown): Strategy {
  const cursor = new JsonCursor(value, 'strategy');
  const fields = cursor.object(['format', 'builder', 'replicas', 'variables']);
  const strategy: Strategy = {
    format: fields.format.oneOf([1]),
    builder: fields.builder.string(),
    replicas: Object.freeze(fields.replicas.array((item) => item.string())),
    variables: Object.freeze(sortPlans(fields.variables.array(decodeVariable))),
  };
  const twice = strategy.variables.find((plan, i) => plan.variable === strategy.variables[i + 1]?.variable);
  if (twice !== undefined) {
    throw fields.variables.error(
      'one plan per variable',
      `two for "${twice.variable}"`,
      'remove one of them',
    );
  }
  return Object.freeze(strategy);
}

/** Plans in the order of their variables' names, by UTF-16 code units. */
export function sortPlans(plans: readonly VariablePlan[]): VariablePlan[] {
  return [...plans].sort((a, b) => (a.variable < b.variable ? -1 : a.variable > b.variable ? 1 : 0));
}

function decodeVariable(cursor: JsonCursor): VariablePlan {
  const fields = cursor.object(['variable', 'synchronizer'], ['partition']);
  return Object.freeze({
    variable: fields.variable.string(),
    synchronizer: decodeSynchronizer(fields.synchronizer),
    ...(fields.partition === undefined ? {} : { partition: decodePartition(fields.partition) }),
  });
}

function decodePartition(cursor: JsonCursor): PartitionPlan {
  const { axis, shards } = cursor.object(['axis', 'shards']);
  const plans = shards.array(decodeSynchronizer);
  if (plans.length === 0)
    throw shards.error('a plan for each shard', 'none', 'add one, or leave "partition" out');
  return Object.freeze({ axis: axis.count(), shards: Object.freeze(plans) });
}

function decodeSynchronizer(cursor: JsonCursor): SynchronizerPlan {
  const kind = cursor.peek('kind')?.oneOf(['parameter-server', 'collective']);
  if (kind === undefined)
    throw cursor.error('the field "kind"', 'a plan without it', 'add "kind": "parameter-server"');
  return kind === 'parameter-server' ? decodeParameterServer(cursor) : decodeCollective(cursor);
}

function decodeParameterServer(cursor: JsonCursor): ParameterServerPlan {
  const fields = cursor.object(['kind', 'device', 'staleness', 'sync', 'proxy']);
  return Object.freeze({
    kind: 'parameter-server',
    device: fields.device.string(),
    staleness: fields.staleness.count(),
    sync: fields.sync.boolean(),
    proxy: fields.proxy.boolean(),
  });
}

function decodeCollective(cursor: JsonCursor): CollectivePlan {
  const fields = cursor.object(['kind', 'algorithm', 'compressor', 'group'], ['k', 'sparse']);
  const compressor = fields.compressor.oneOf(COMPRESSORS);
  if (fields.k !== undefined && compressor !== TOP_K)
    throw fields.k.error(`no "k" but with the compressor ${TOP_K}`, `it with "${compressor}"`, 'remove it');
  const sparse = fields.sparse?.oneOf(SPARSE_WAYS) ?? 'auto';
  return Object.freeze({
    kind: 'collective',
    algorithm: fields.algorithm.oneOf(ALGORITHMS),
    compressor,
    ...(compressor === TOP_K ? { k: fields.k?.part() ?? DEFAULT_K } : {}),
    group: fields.group.count(),
    ...(sparse === 'auto' ? {} : { sparse }),
  });
}

/** A plain value with the fields in their one order: what JSON.stringify should see. */
export function encodeStrategy(strategy: Strategy): object {
  return {
    format: strategy.format,
    builder: strategy.builder,
    replicas: [...strategy.replicas],
    variables: sortPlans(strategy.variables).map(encodeVariable),
  };
}

function encodeVariable({ variable, synchronizer, partition }: VariablePlan): object {
  const base = { variable, synchronizer: encodeSynchronizer(synchronizer) };
  if (partition === undefined) return base;
  return { ...base, partition: { axis: partition.axis, shards: partition.shards.map(encodeSynchronizer) } };
}

function encodeSynchronizer(plan: SynchronizerPlan): object {
  switch (plan.kind) {
    case 'parameter-server': {
      const { kind, device, staleness, sync, proxy } = plan;
      return { kind, device, staleness, sync, proxy };
    }
    case 'collective': {
      const { kind, algorithm, compressor, k = DEFAULT_K, group, sparse } = plan;
      const chosen = sparse === undefined ? {} : { sparse };
      return { kind, algorithm, compressor, ...(compressor === TOP_K ? { k } : {}), group, ...chosen };
    }
  }
}

/** The one text of a strategy, for digests: compact JSON with a fixed order of fields and variables sorted by name. */
export function canonicalStrategy(strategy: Strategy): string {
  return JSON.stringify(encodeStrategy(strategy));
}

/** A strategy as people read and edit it; parseStrategy reads it back. */
export function printStrategy(strategy: Strategy): string {
  return `${JSON.stringify(encodeStrategy(strategy), null, 2)}\n`;
}

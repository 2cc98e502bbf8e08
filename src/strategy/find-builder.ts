/** From what a user writes for a strategy (a name, a builder with options, a whole strategy) to a builder. */
import { excerpt, GradsyncError } from '../errors.js';
import { type AllReduceOptions, allReduce } from './all-reduce.js';
import type { StrategyBuilder } from './builder.js';
import { decodeStrategy, parseJson } from './codec.js';
import { JsonCursor } from './json-cursor.js';
import { parallax } from './parallax.js';
import {
  loadBalancedParameterServer,
  type ParameterServerOptions,
  parameterServer,
} from './parameter-server.js';
import {
  type PartitionOptions,
  partitionedAllReduce,
  partitionedParameterServer,
  type RandomAxisOptions,
  randomAxisPartitionedAllReduce,
  unevenPartitionedParameterServer,
} from './partitioned.js';
import { ALGORITHMS, COMPRESSORS, SPARSE_WAYS, type Strategy } from './strategy.js';

type Option = keyof ParameterServerOptions | keyof AllReduceOptions | keyof RandomAxisOptions;
type Fields = Partial<Record<Option, JsonCursor>>;

/** A builder, and what may be said of it in JSON. */
interface Entry {
  readonly options: readonly Option[];
  make(fields: Fields): StrategyBuilder;
}

const OF_SERVERS: readonly Option[] = ['staleness', 'sync', 'proxy'];
const OF_COLLECTIVES: readonly Option[] = ['group', 'compressor', 'k', 'algorithm'];
const OF_COPIES: readonly Option[] = [...OF_COLLECTIVES, 'sparse'];
const OF_PARTITIONS: readonly Option[] = ['shards', 'minShardBytes'];

const BUILDERS = {
  ps: { options: OF_SERVERS, make: (fields) => parameterServer(serverOptions(fields)) },
  'ps-lb': { options: OF_SERVERS, make: (fields) => loadBalancedParameterServer(serverOptions(fields)) },
  'partitioned-ps': {
    options: [...OF_SERVERS, ...OF_PARTITIONS],
    make: (fields) => partitionedParameterServer({ ...serverOptions(fields), ...partitionOptions(fields) }),
  },
  'uneven-partitioned-ps': {
    options: [...OF_SERVERS, ...OF_PARTITIONS],
    make: (fields) =>
      unevenPartitionedParameterServer({ ...serverOptions(fields), ...partitionOptions(fields) }),
  },
  'all-reduce': { options: OF_COPIES, make: (fields) => allReduce(collectiveOptions(fields)) },
  'partitioned-all-reduce': {
    options: [...OF_COPIES, ...OF_PARTITIONS],
    make: (fields) => partitionedAllReduce({ ...collectiveOptions(fields), ...partitionOptions(fields) }),
  },
  'random-axis-partitioned-all-reduce': {
    options: [...OF_COPIES, ...OF_PARTITIONS, 'seed'],
    make: (fields) =>
      randomAxisPartitionedAllReduce({
        ...collectiveOptions(fields),
        ...partitionOptions(fields),
        ...(fields.seed === undefined ? {} : { seed: fields.seed.count() }),
      }),
  },
  parallax: { options: OF_COLLECTIVES, make: (fields) => parallax(collectiveOptions(fields)) },
} as const satisfies Record<string, Entry>;

type BuilderName = keyof typeof BUILDERS;

/** Names that findBuilder knows. */
export const BUILDER_NAMES: readonly string[] = Object.keys(BUILDERS);

/** A builder by its name, with options where they are not the usual ones. */
export interface BuilderChoice extends ParameterServerOptions, AllReduceOptions {
  readonly builder: string;
}

/**
 * The builder of a name (`ps-lb`), or of JSON: that of what builderOf takes.
 *
 * @throws GradsyncError INVALID_ARGUMENT: an unknown name (the known ones are listed), or JSON that is not a strategy.
 */
export function findBuilder(nameOrJson: string): StrategyBuilder {
  const text = nameOrJson.trim();
  return text.startsWith('{') ? builderOf(parseJson(text, 'Strategy')) : BUILDERS[knownName(text)].make({});
}

/**
 * The builder of a name with options (`{ builder: 'ps', proxy: true }`), or of a whole strategy, which is then used as it stands.
 *
 * @throws GradsyncError INVALID_ARGUMENT: neither of them, a field that is none, an unknown name.
 */
export function builderOf(value: unknown): StrategyBuilder {
  const cursor = new JsonCursor(value, 'strategy');
  if (cursor.peek('variables') !== undefined) return fixedBuilder(decodeStrategy(value));
  const name = cursor.peek('builder')?.string();
  if (name === undefined)
    throw cursor.error('the field "builder" or "variables"', 'an object without them', 'add one');
  const { options, make }: Entry = BUILDERS[knownName(name)];
  return make(cursor.object(['builder'], options));
}

/** A builder that gives this strategy for every model. */
export function fixedBuilder(strategy: Strategy): StrategyBuilder {
  return Object.freeze({ name: strategy.builder, build: () => strategy });
}

function serverOptions({ staleness, sync, proxy }: Fields): ParameterServerOptions {
  return {
    ...(staleness === undefined ? {} : { staleness: staleness.count() }),
    ...(sync === undefined ? {} : { sync: sync.boolean() }),
    ...(proxy === undefined ? {} : { proxy: proxy.boolean() }),
  };
}

function collectiveOptions({ group, compressor, k, algorithm, sparse }: Fields): AllReduceOptions {
  return {
    ...(group === undefined ? {} : { group: group.count() }),
    ...(compressor === undefined ? {} : { compressor: compressor.oneOf(COMPRESSORS) }),
    ...(k === undefined ? {} : { k: k.part() }),
    ...(algorithm === undefined ? {} : { algorithm: algorithm.oneOf(ALGORITHMS) }),
    ...(sparse === undefined ? {} : { sparse: sparse.oneOf(SPARSE_WAYS) }),
  };
}

function partitionOptions({ shards, minShardBytes }: Fields): PartitionOptions {
  return {
    ...(shards === undefined ? {} : { shards: shards.count() }),
    ...(minShardBytes === undefined ? {} : { minShardBytes: minShardBytes.count() }),
  };
}

function knownName(name: string): BuilderName {
  if (Object.hasOwn(BUILDERS, name)) return name as BuilderName;
  throw new GradsyncError('INVALID_ARGUMENT', 'Strategy', {
    expected: `one of ${BUILDER_NAMES.join(', ')}, or a strategy in JSON`,
    received: JSON.stringify(excerpt(name)),
    remedy: 'pass a known name, or the JSON of a strategy',
  });
}

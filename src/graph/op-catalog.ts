/**
 * Facts about TensorFlow's operations that their NodeDefs do not tell: which inputs an operation writes, where an update takes its
 * gradient, what is stateful, how many outputs there are. Data only; taken from TensorFlow 2.21's registry.
 */

/** An operation that changes the variable at input 0. */
export interface UpdateRule {
  /** `apply`: an optimizer's step. `scatter`: rows set or combined. `assign`: the whole value, or a slice of it. */
  readonly kind: 'apply' | 'scatter' | 'assign';
  /** Position of the gradient; of the value for the others. */
  readonly gradient: number;
  /** Position of the row indices, which makes the update sparse. */
  readonly indices: number | undefined;
  /** Positions of the optimizer's slot variables, written too. */
  readonly slots: readonly number[];
}

type Flavour = 'Apply' | 'ResourceApply' | 'SparseApply' | 'ResourceSparseApply';
const ALL: readonly Flavour[] = ['Apply', 'ResourceApply', 'SparseApply', 'ResourceSparseApply'];
const DENSE: readonly Flavour[] = ['Apply', 'ResourceApply'];

/** Optimizer, number of slots (inputs 1, 2, ...), position of the gradient (the same dense and sparse; indices follow), flavours. */
const OPTIMIZERS: readonly (readonly [string, number, number, readonly Flavour[]])[] = [
  ['GradientDescent', 0, 2, DENSE],
  ['ProximalGradientDescent', 0, 4, ALL],
  ['Adadelta', 2, 6, ALL],
  ['Adagrad', 1, 3, ALL],
  ['AdagradV2', 1, 4, ALL],
  ['ProximalAdagrad', 1, 5, ALL],
  ['AdagradDA', 2, 3, ALL],
  ['Ftrl', 2, 3, ALL],
  ['FtrlV2', 2, 3, ALL],
  ['Momentum', 1, 3, ALL],
  ['KerasMomentum', 1, 3, ['ResourceApply', 'ResourceSparseApply']],
  ['Adam', 2, 9, DENSE],
  ['AdamWithAmsgrad', 3, 10, ['ResourceApply']],
  ['AdaMax', 2, 8, DENSE],
  ['RMSProp', 2, 7, ALL],
  ['CenteredRMSProp', 3, 8, ALL],
  ['AddSign', 1, 6, DENSE],
  ['PowerSign', 1, 6, DENSE],
];

const SCATTERS = [
  'Update',
  'Add',
  'Sub',
  'Mul',
  'Div',
  'Min',
  'Max',
  'NdUpdate',
  'NdAdd',
  'NdSub',
  'NdMin',
  'NdMax',
];
const ASSIGNS = ['', 'Add', 'Sub'];

const UPDATES: ReadonlyMap<string, UpdateRule> = new Map(updateRows());

function* updateRows(): Iterable<[string, UpdateRule]> {
  for (const [optimizer, slotCount, gradient, flavours] of OPTIMIZERS) {
    const slots = Array.from({ length: slotCount }, (_, i) => i + 1);
    for (const flavour of flavours) {
      const indices = flavour.endsWith('SparseApply') ? gradient + 1 : undefined;
      yield [flavour + optimizer, { kind: 'apply', gradient, indices, slots }];
    }
  }
  for (const scatter of SCATTERS) {
    const rule: UpdateRule = { kind: 'scatter', gradient: 2, indices: 1, slots: [] };
    yield [`Scatter${scatter}`, rule];
    yield [`ResourceScatter${scatter}`, rule];
  }
  for (const assign of ASSIGNS) {
    const rule: UpdateRule = { kind: 'assign', gradient: 1, indices: undefined, slots: [] };
    yield [`Assign${assign}`, rule];
    yield [`Assign${assign}VariableOp`, rule];
  }
  for (const slice of ['StridedSliceAssign', 'ResourceStridedSliceAssign']) {
    yield [slice, { kind: 'assign', gradient: 4, indices: undefined, slots: [] }];
  }
}

/** How an operation of that type updates a variable, if it does. */
export function updateRule(type: string): UpdateRule | undefined {
  return UPDATES.get(type);
}

/** Whether an update takes a value of the variable's own shape, and not a slice or rows of it: an assignment, or an addition. */
export function assignsWhole(type: string): boolean {
  return /^Assign(Add|Sub)?(VariableOp)?$/.test(type);
}

/** Whether the operation has the attribute `use_locking`, with which it excludes other changes of the variable while it runs. */
export function takesLock(type: string): boolean {
  const rule = UPDATES.get(type);
  if (rule === undefined || rule.kind === 'apply') return rule !== undefined;
  return /^(?:Assign|AssignAdd|AssignSub|Scatter\w+)$/.test(type);
}

/** Updates whose operand is a gradient times a factor, so that they are gradient descent. */
const ADDS_GRADIENT = new Set(['ScatterAdd', 'ScatterSub', 'ResourceScatterAdd', 'ResourceScatterSub']);

/** Whether the update's operand is a gradient, up to a factor: an optimizer's step, or rows added. */
export function takesGradient(type: string): boolean {
  return UPDATES.get(type)?.kind === 'apply' || ADDS_GRADIENT.has(type);
}

/** Positions of the inputs (resource handles or references) whose variables the operation writes. */
export function writtenInputs(type: string): readonly number[] {
  const rule = UPDATES.get(type);
  return rule === undefined ? [] : [0, ...rule.slots];
}

/** Operations that make a variable: type, and whether its output is a resource handle or a reference. */
const VARIABLES: ReadonlyMap<string, 'resource' | 'reference'> = new Map([
  ['VarHandleOp', 'resource'],
  ['VariableV2', 'reference'],
  ['Variable', 'reference'],
]);

export function variableKind(type: string): 'resource' | 'reference' | undefined {
  return VARIABLES.get(type);
}

/** Operations whose output 0 is the very variable of input 0, not a copy of its value. */
const HANDLE_ALIASES = new Set(['Enter', 'Exit', 'NextIteration', 'Switch', 'Merge']);
const REFERENCE_ALIASES = new Set([
  'RefIdentity',
  'RefEnter',
  'RefExit',
  'RefNextIteration',
  'RefSwitch',
  'RefMerge',
]);

export function isHandleAlias(type: string): boolean {
  return type === 'Identity' || HANDLE_ALIASES.has(type);
}

/** For references, operations that write one give it back as output 0. */
export function isReferenceAlias(type: string): boolean {
  return REFERENCE_ALIASES.has(type) || (UPDATES.has(type) && !/Resource|VariableOp/.test(type));
}

/** Where values enter a graph from outside, or are drawn: what depends on none of these, nor on a variable, is a constant. */
const SOURCES =
  /^(Placeholder|PlaceholderWithDefault|PlaceholderV2|Iterator|.*Dequeue|.*Reader|ReadFile|Random|.*Normal$|Multinomial|PyFunc|EagerPyFunc|_Arg)/;

export function isInputSource(type: string): boolean {
  return SOURCES.test(type);
}

/** What a source hands its values out of: read by several, it is one and the same. */
const HANDLES =
  /^(Iterator(V2|FromStringHandle(V2)?|ToStringHandle)?|OneShotIterator|AnonymousIterator.*|.*Reader(V2)?)$/;

/** Whether an operation itself hands out a value from outside, or one that is drawn. */
export function drawsValue(type: string): boolean {
  return isInputSource(type) && !HANDLES.test(type);
}

/** Operations that make an object which lives for one step and is written during it. */
export function keepsState(type: string): boolean {
  return /^(TensorArray(V[23])?|Stack(V2)?|TemporaryVariable)$/.test(type);
}

/** Whether an operation writes or reads checkpoint files, or names one; input 0 is the name. */
export function isCheckpointing(type: string): boolean {
  return /^(Save|SaveV2|SaveSlices|Restore|RestoreV2|RestoreSlice|MergeV2Checkpoints|ShardedFilename)$/.test(
    type,
  );
}

export function isConstant(type: string): boolean {
  return type === 'Const';
}

/** Whether an operation does nothing but wait. */
export function isGroup(type: string): boolean {
  return type === 'NoOp' || type === 'ControlTrigger';
}

/** Operations through which values come into the frame of a loop, and out of it. */
export function opensLoop(type: string): boolean {
  return type === 'Enter' || type === 'RefEnter';
}

export function closesFrame(type: string): boolean {
  return type === 'Exit' || type === 'RefExit';
}

/** Operations whose outputs are bools, whatever `T` is. */
const BOOLS = new Set([
  ...['Equal', 'NotEqual', 'Less', 'LessEqual', 'Greater', 'GreaterEqual', 'InTopK', 'InTopKV2'],
  ...['LogicalAnd', 'LogicalOr', 'LogicalNot', 'All', 'Any', 'IsFinite', 'IsNan', 'IsInf'],
  ...['VarIsInitializedOp', 'IsVariableInitialized', 'QueueIsClosed', 'QueueIsClosedV2'],
]);

export function givesBool(type: string): boolean {
  return BOOLS.has(type);
}

/** Operations whose results come from shapes, not from values. */
const SHAPE_ONLY = new Set([
  'Shape',
  'ShapeN',
  'Size',
  'Rank',
  'ZerosLike',
  'OnesLike',
  'BroadcastGradientArgs',
  'ConcatOffset',
  'VariableShape',
]);

export function readsShapeOnly(type: string): boolean {
  return SHAPE_ONLY.has(type);
}

/** Operations whose result for the sum of two inputs is the sum of their results, rows kept apart. For the sparse aggregate's form. */
const ROW_LINEAR = new Set(['Identity', 'Neg', 'Cast', 'StopGradient', 'CheckNumerics']);
/** The same, as long as the other operand does not depend on the gradient. */
const ROW_SCALING = new Set(['Mul', 'RealDiv', 'DivNoNan', 'Div']);
export function isRowLinear(type: string): boolean {
  return ROW_LINEAR.has(type);
}

export function isRowScaling(type: string): boolean {
  return ROW_SCALING.has(type);
}

const LOOP_BACK_EDGES = new Set(['NextIteration', 'RefNextIteration']);

/** Operations whose output closes a loop: the only edges that may go backwards. */
export function closesLoop(type: string): boolean {
  return LOOP_BACK_EDGES.has(type);
}

/** Operations with state, or with an effect beyond their outputs, apart from updates of variables. */
const STATEFUL =
  /^(RandomUniform(Int)?|RandomStandardNormal|RandomGamma|RandomPoisson(V2)?|RandomShuffle|RandomCrop|TruncatedNormal|ParameterizedTruncatedNormal|Multinomial|Stateful.*|Rng.*|Collective.*|Nccl.*|.*Queue(V2)?|Queue.*V2|(Resource|Sparse)?ConditionalAccumulator|ResourceAccumulator.*|.*HashTable(V2)?|LookupTable.*V2|InitializeTable.*V2|Iterator.*|OneShotIterator|AnonymousIterator.*|MakeIterator|VarHandleOp|Variable(V2)?|TemporaryVariable|DestroyResourceOp|ReadVariableOp|ResourceGather(Nd)?|VarIsInitializedOp|IsVariableInitialized|SummaryWriter|Write.*Summary|.*ReaderV2|Reader.*V2|TensorArray.*V3|Barrier|Stage|Unstage|PyFunc|EagerPyFunc|MutexV2|MutexLock|Print|PrintV2|Assert|Save(V2|Slices)?|Restore(V2|Slice)?|WriteFile|MergeV2Checkpoints|If|While|Case|CudnnRNN(V2|V3|Backprop|BackpropV2|BackpropV3)?|Stack(V2|PushV2|PopV2|CloseV2)|CheckNumerics(V2)?)$/;

export function isStateful(type: string): boolean {
  return UPDATES.has(type) || STATEFUL.test(type);
}

/** Operations without outputs, with two and more, and those with one that are not worth listing because verify need not know them. */
const NO_OUTPUT =
  /^(NoOp|ControlTrigger|Abort|Assert|SaveV2|Save|SaveSlices|Resource(Sparse)?Apply.*|ResourceScatter.*|ResourceStridedSliceAssign|Assign.*VariableOp|DestroyResourceOp|.*QueueEnqueue(Many)?(V2)?|QueueClose(V2)?|(Resource)?AccumulatorApplyGradient|SparseAccumulatorApplyGradient|(Resource)?AccumulatorSetGlobalStep|InitializeTable.*|LookupTable(Insert|Import|Remove)(V2)?)$/;
const OUTPUTS: ReadonlyMap<string, number> = new Map([
  ['BroadcastGradientArgs', 2],
  ['SoftmaxCrossEntropyWithLogits', 2],
  ['SparseSoftmaxCrossEntropyWithLogits', 2],
  ['Unique', 2],
  ['UniqueV2', 2],
  ['UniqueWithCounts', 3],
  ['Switch', 2],
  ['RefSwitch', 2],
  ['Merge', 2],
  ['RefMerge', 2],
  ['TopKV2', 2],
  ['MaxPoolWithArgmax', 2],
  ['Moments', 2],
  ['FusedBatchNorm', 5],
  ['FusedBatchNormV2', 5],
  ['FusedBatchNormV3', 6],
  ['FusedBatchNormGrad', 5],
  ['FusedBatchNormGradV2', 5],
  ['FusedBatchNormGradV3', 5],
  ['SparseAccumulatorTakeGradient', 3],
  ['TensorListPopBack', 2],
  ['TensorListConcatV2', 2],
  ['TensorArrayV3', 2],
  ['TensorArrayGradV3', 2],
  ...[
    'Const Placeholder PlaceholderWithDefault Identity MatMul BatchMatMul BatchMatMulV2 Add AddV2 AddN Sub Mul RealDiv Div Neg Square',
    'Sqrt Rsqrt Exp Log Pow Minimum Maximum Sum Mean Prod Max Min Reshape Shape Size Rank Cast Relu ReluGrad Softmax LogSoftmax Tanh',
    'Sigmoid BiasAdd BiasAddGrad Conv2D Conv2DBackpropFilter Conv2DBackpropInput MaxPool MaxPoolGrad GatherV2 Gather ResourceGather',
    'ReadVariableOp VarHandleOp VariableV2 Variable VarIsInitializedOp Assign AssignAdd AssignSub Fill Tile Transpose ConcatV2 Pack',
    'ExpandDims Squeeze StridedSlice Slice Pad ArgMax Equal Select SelectV2 ZerosLike OnesLike UnsortedSegmentSum L2Loss FloorMod',
    'ConditionalAccumulator ResourceConditionalAccumulator SparseConditionalAccumulator AccumulatorTakeGradient FIFOQueueV2',
    'ResourceAccumulatorTakeGradient NextIteration Enter Exit LoopCond RandomUniform TruncatedNormal RandomStandardNormal',
  ]
    .join(' ')
    .split(' ')
    .map((type): [string, number] => [type, 1]),
]);

/** How many outputs operations of that type have, where it is known and does not depend on attributes. */
export function outputCount(type: string): number | undefined {
  return OUTPUTS.get(type) ?? (NO_OUTPUT.test(type) ? 0 : undefined);
}

/** The attribute that holds the number of outputs (an int, or the length of a list) of operations that have as many as they are told. */
const OUTPUT_ATTRIBUTES: ReadonlyMap<string, string> = new Map([
  ['Split', 'num_split'],
  ['SplitV', 'num_split'],
  ['Unpack', 'num'],
  ['DynamicPartition', 'num_partitions'],
  ['ShapeN', 'N'],
  ['ConcatOffset', 'N'],
  ['IdentityN', 'T'],
  ['RestoreV2', 'dtypes'],
  ['PartitionedCall', 'Tout'],
  ['StatefulPartitionedCall', 'Tout'],
  ['If', 'Tout'],
  ['StatelessIf', 'Tout'],
  ['While', 'T'],
  ['StatelessWhile', 'T'],
  ['QueueDequeue', 'component_types'],
  ['QueueDequeueV2', 'component_types'],
  ['QueueDequeueManyV2', 'component_types'],
  ['IteratorGetNext', 'output_types'],
  ['OptionalGetValue', 'output_types'],
]);

export function outputCountAttribute(type: string): string | undefined {
  return OUTPUT_ATTRIBUTES.get(type);
}

/** Names of the outputs of operations that have several, as inputs inside functions name them. */
const OUTPUT_NAMES: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    BroadcastGradientArgs: 'r0 r1',
    SoftmaxCrossEntropyWithLogits: 'loss backprop',
    SparseSoftmaxCrossEntropyWithLogits: 'loss backprop',
    Unique: 'y idx',
    UniqueV2: 'y idx',
    UniqueWithCounts: 'y idx count',
    Switch: 'output_false output_true',
    Merge: 'output value_index',
    TopKV2: 'values indices',
    MaxPoolWithArgmax: 'output argmax',
    FusedBatchNorm: 'y batch_mean batch_variance reserve_space_1 reserve_space_2',
    FusedBatchNormV2: 'y batch_mean batch_variance reserve_space_1 reserve_space_2',
    FusedBatchNormV3: 'y batch_mean batch_variance reserve_space_1 reserve_space_2 reserve_space_3',
    FusedBatchNormGrad: 'x_backprop scale_backprop offset_backprop reserve_space_3 reserve_space_4',
    FusedBatchNormGradV2: 'x_backprop scale_backprop offset_backprop reserve_space_3 reserve_space_4',
    FusedBatchNormGradV3: 'x_backprop scale_backprop offset_backprop reserve_space_4 reserve_space_5',
    TensorListPopBack: 'output_handle tensor',
    TensorListConcatV2: 'tensor lengths',
    TensorArrayV3: 'handle flow',
    TensorArrayGradV3: 'grad_handle flow_out',
  }).map(([type, names]) => [type, names.split(' ')]),
);

/** Where an output stands among those of its operation, by its name; undefined where the names are not known. */
export function outputPosition(type: string, name: string): number | undefined {
  const position = OUTPUT_NAMES.get(type)?.indexOf(name) ?? -1;
  return position < 0 ? undefined : position;
}

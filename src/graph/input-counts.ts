/**
 * How many inputs operations have: those that take the same number whatever their attributes say. Data only; taken from TensorFlow 2.21's
 * registry.
 */

/** Types by their number of inputs. */
const TYPES: readonly string[] = [
  // 0
  [
    'Abort AnonymousIterator Barrier ConditionalAccumulator Const ControlTrigger FIFOQueue FIFOQueueV2 HashTable Iterator',
    'MutexV2 NoOp OneShotIterator OptionalNone Placeholder PlaceholderV2 ResourceConditionalAccumulator',
    'SparseConditionalAccumulator Stack SummaryWriter TemporaryVariable Unstage VarHandleOp Variable VariableV2',
  ].join(' '),
  // 1
  [
    'Abs AccumulatorNumAccumulated AvgPool BiasAddGrad Cast Ceil CheckNumerics Conj Cos DeepCopy DepthToSpace',
    'DestroyResourceOp Diag DiagPart Elu EnsureShape Enter Exit Exp Expm1 Floor Identity Imag Inv InvertPermutation',
    'IsFinite IsInf IsNan IsVariableInitialized IteratorGetNext L2Loss LRN LeakyRelu Log Log1p LogSoftmax LogicalNot',
    'LoopCond MatrixDiag MatrixDiagPart MaxPool MaxPoolWithArgmax MutexLock Neg NextIteration OnesLike OptionalGetValue',
    'OptionalHasValue PlaceholderWithDefault PreventGradient PrintV2 QueueClose QueueCloseV2 QueueDequeue QueueDequeueV2',
    'QueueIsClosed QueueIsClosedV2 QueueSize QueueSizeV2 RandomShuffle RandomStandardNormal RandomUniform Rank ReadFile',
    'ReadVariableOp Real Reciprocal RefEnter RefExit RefIdentity RefNextIteration Relu Relu6',
    'ResourceAccumulatorNumAccumulated Rint Round Rsqrt Selu Shape Sigmoid Sign Sin Size Snapshot Softmax Softplus Softsign',
    'SpaceToDepth Sqrt Square Squeeze StackCloseV2 StackPopV2 StackV2 StopGradient Tanh TensorArray TensorArrayCloseV3',
    'TensorArrayV3 TensorListElementShape TensorListLength TruncatedNormal Unique UniqueWithCounts Unpack',
    'VarIsInitializedOp VariableShape Where ZerosLike',
  ].join(' '),
  // 2
  [
    'AccumulatorSetGlobalStep AccumulatorTakeGradient Add AddV2 All Any ArgMax ArgMin Assign AssignAdd AssignAddVariableOp',
    'AssignSub AssignSubVariableOp AssignVariableOp AvgPool3DGrad AvgPoolGrad BatchMatMul BatchMatMulV2 BatchMatMulV3',
    'BiasAdd BiasAddV1 BroadcastArgs BroadcastGradientArgs BroadcastTo Complex ConjugateTranspose Conv Conv2D Conv3D Cross',
    'Cumsum DepthwiseConv2dNative Dilation2D Div DivNoNan DynamicPartition EluGrad EmptyTensorList Equal ExpandDims Fill',
    'FloorDiv FloorMod Gather GatherNd Greater GreaterEqual InTopK InvGrad LeakyReluGrad Less LessEqual LogicalAnd',
    'LogicalOr MakeIterator MatMul Max Maximum Mean MergeV2Checkpoints Min Minimum MirrorPad MirrorPadGrad Mod Mul MulNoNan',
    'Multinomial NotEqual Pad Pow Prod QueueDequeueManyV2 RandomCrop RandomGamma RandomPoisson RealDiv ReciprocalGrad',
    'RefSwitch Relu6Grad ReluGrad Reshape ResourceAccumulatorSetGlobalStep ResourceAccumulatorTakeGradient ResourceGather',
    'ResourceGatherNd Restore Reverse ReverseSequence ReverseV2 RsqrtGrad SegmentMean SegmentSum SeluGrad SigmoidGrad',
    'SoftmaxCrossEntropyWithLogits SoftplusGrad SoftsignGrad SparseAccumulatorTakeGradient SparseMatMul',
    'SparseSoftmaxCrossEntropyWithLogits Split SqrtGrad SquaredDifference StackPushV2 Sub Sum Switch TanhGrad',
    'TensorArrayConcatV3 TensorArrayGrad TensorArrayGradV3 TensorArraySizeV3 TensorListFromTensor TensorListPopBack',
    'TensorListPushBack TensorListReserve TensorListResize TensorListStack Tile TopKV2 Transpose TruncateDiv TruncateMod',
    'UniqueV2 WriteFile Xdivy Xlogy',
  ].join(' '),
  // 3
  [
    'AccumulatorApplyGradient ApplyGradientDescent BatchToSpaceND ClipByValue Conv2DBackpropFilter Conv2DBackpropInput',
    'GatherV2 InTopKV2 InitializeTable MatrixBandPart MaxPoolGrad MaxPoolGradWithArgmax PadV2 RandomUniformInt Range',
    'ResourceAccumulatorApplyGradient ResourceApplyGradientDescent ResourceScatterAdd ResourceScatterDiv ResourceScatterMax',
    'ResourceScatterMin ResourceScatterMul ResourceScatterNdAdd ResourceScatterNdMax ResourceScatterNdMin',
    'ResourceScatterNdSub ResourceScatterNdUpdate ResourceScatterSub ResourceScatterUpdate RestoreSlice RestoreV2 Roll',
    'ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNd ScatterNdAdd ScatterNdMax ScatterNdMin ScatterNdSub',
    'ScatterNdUpdate ScatterSub ScatterUpdate Select SelectV2 ShardedFilename Slice SpaceToBatchND SplitV',
    'TensorArrayGatherV3 TensorArrayReadV3 TensorListConcatV2 TensorListGather TensorListGetItem TensorListScatter',
    'TensorListSetItem TensorScatterAdd TensorScatterSub TensorScatterUpdate UnsortedSegmentSum',
  ].join(' '),
  // 4
  [
    'ApplyAdagrad CudnnRNN OneHot QuantizeAndDequantizeV4Grad ResourceApplyAdagrad SparseTensorDenseMatMul StridedSlice',
    'TensorArrayScatterV3 TensorArraySplitV3 TensorArrayWriteV3 TensorListScatterV2',
  ].join(' '),
  // 5
  [
    'ApplyAdagradV2 ApplyMomentum ApplyProximalGradientDescent FusedBatchNorm FusedBatchNormGrad FusedBatchNormGradV2',
    'FusedBatchNormV2 FusedBatchNormV3 ParameterizedTruncatedNormal ResourceApplyAdagradV2 ResourceApplyKerasMomentum',
    'ResourceApplyMomentum ResourceApplyProximalGradientDescent ResourceSparseApplyAdagrad ResourceStridedSliceAssign',
    'SparseAccumulatorApplyGradient SparseApplyAdagrad StridedSliceAssign StridedSliceGrad',
  ].join(' '),
  // 6
  [
    'ApplyProximalAdagrad FusedBatchNormGradV3 ResourceApplyProximalAdagrad ResourceSparseApplyAdagradV2',
    'ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum ResourceSparseApplyProximalGradientDescent',
    'SparseApplyAdagradV2 SparseApplyMomentum SparseApplyProximalGradientDescent',
  ].join(' '),
  // 7
  [
    'ApplyAdadelta ApplyAddSign ApplyPowerSign ResourceApplyAdadelta ResourceApplyAddSign ResourceApplyPowerSign',
    'ResourceSparseApplyProximalAdagrad SparseApplyProximalAdagrad',
  ].join(' '),
  // 8
  [
    'ApplyAdagradDA ApplyFtrl ApplyRMSProp ResourceApplyAdagradDA ResourceApplyFtrl ResourceApplyRMSProp',
    'ResourceSparseApplyAdadelta SparseApplyAdadelta',
  ].join(' '),
  // 9
  [
    'ApplyAdaMax ApplyCenteredRMSProp ApplyFtrlV2 ResourceApplyAdaMax ResourceApplyCenteredRMSProp ResourceApplyFtrlV2',
    'ResourceSparseApplyAdagradDA ResourceSparseApplyFtrl ResourceSparseApplyRMSProp SparseApplyAdagradDA SparseApplyFtrl',
    'SparseApplyRMSProp',
  ].join(' '),
  // 10
  [
    'ApplyAdam ResourceApplyAdam ResourceSparseApplyCenteredRMSProp ResourceSparseApplyFtrlV2 SparseApplyCenteredRMSProp',
    'SparseApplyFtrlV2',
  ].join(' '),
  // 11
  'ResourceApplyAdamWithAmsgrad',
];

const COUNTS: ReadonlyMap<string, number> = new Map(
  TYPES.flatMap((types, count) => types.split(' ').map((type): [string, number] => [type, count])),
);

/** How many inputs operations of that type take, where it is known and does not depend on attributes. */
export function inputCount(type: string): number | undefined {
  return COUNTS.get(type);
}

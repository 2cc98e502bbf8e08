/** The messages a text GraphDef or MetaGraphDef consists of: field names, numbers and kinds, from TensorFlow's .proto files. */

/** `string` (bytes too), `int` (all varints), `bool`, `float`, `double`, an enum in capitals, or the name of a message. */
export type FieldKind = string;
export type MessageSchema = ReadonlyMap<string, { readonly number: number; readonly kind: FieldKind }>;

/** `name number kind` of each field. A map field is a repeated message with key and value. */
const MESSAGES: Readonly<Record<string, string>> = {
  MetaGraphDef:
    'meta_info_def 1 MetaInfoDef, graph_def 2 GraphDef, saver_def 3 SaverDef, collection_def 4 CollectionEntry, signature_def 5 SignatureEntry, asset_file_def 6 AssetFileDef',
  MetaInfoDef:
    'meta_graph_version 1 string, stripped_op_list 2 OpList, tags 4 string, tensorflow_version 5 string, tensorflow_git_version 6 string, stripped_default_attrs 7 bool, function_aliases 8 TextEntry',
  TextEntry: 'key 1 string, value 2 string',
  OpList: 'op 1 OpDef',
  OpDef:
    'name 1 string, input_arg 2 ArgDef, output_arg 3 ArgDef, attr 4 AttrDef, summary 5 string, description 6 string, deprecation 8 OpDeprecation, is_aggregate 16 bool, is_stateful 17 bool, is_commutative 18 bool, allows_uninitialized_input 19 bool, control_output 20 string, is_distributed_communication 21 bool',
  ArgDef:
    'name 1 string, description 2 string, type 3 DATATYPE, type_attr 4 string, number_attr 5 string, type_list_attr 6 string, is_ref 16 bool, experimental_full_type 17 FullTypeDef',
  AttrDef:
    'name 1 string, type 2 string, default_value 3 AttrValue, description 4 string, has_minimum 5 bool, minimum 6 int, allowed_values 7 AttrValue',
  OpDeprecation: 'version 1 int, explanation 2 string',
  SaverDef:
    'filename_tensor_name 1 string, save_tensor_name 2 string, restore_op_name 3 string, max_to_keep 4 int, sharded 5 bool, keep_checkpoint_every_n_hours 6 float, version 7 SAVERVERSION',
  CollectionEntry: 'key 1 string, value 2 CollectionDef',
  CollectionDef:
    'node_list 1 NodeList, bytes_list 2 BytesList, int64_list 3 Int64List, float_list 4 FloatList',
  NodeList: 'value 1 string',
  BytesList: 'value 1 string',
  Int64List: 'value 1 int',
  FloatList: 'value 1 float',
  SignatureEntry: 'key 1 string, value 2 SignatureDef',
  SignatureDef: 'inputs 1 TensorInfoEntry, outputs 2 TensorInfoEntry, method_name 3 string',
  TensorInfoEntry: 'key 1 string, value 2 TensorInfo',
  TensorInfo: 'name 1 string, dtype 2 DATATYPE, tensor_shape 3 TensorShapeProto',
  AssetFileDef: 'tensor_info 1 TensorInfo, filename 2 string',
  GraphDef: 'node 1 NodeDef, library 2 FunctionDefLibrary, version 3 int, versions 4 VersionDef',
  VersionDef: 'producer 1 int, min_consumer 2 int, bad_consumers 3 int',
  NodeDef:
    'name 1 string, op 2 string, input 3 string, device 4 string, attr 5 AttrEntry, experimental_debug_info 6 DebugInfo, experimental_type 7 FullTypeDef',
  DebugInfo: 'original_node_names 1 string, original_func_names 2 string',
  FullTypeDef: 'type_id 1 FULLTYPE, args 2 FullTypeDef, s 3 string, i 4 int',
  AttrEntry: 'key 1 string, value 2 AttrValue',
  AttrValue:
    'list 1 ListValue, s 2 string, i 3 int, f 4 float, b 5 bool, type 6 DATATYPE, shape 7 TensorShapeProto, tensor 8 TensorProto, placeholder 9 string, func 10 NameAttrList',
  ListValue:
    's 2 string, i 3 int, f 4 float, b 5 bool, type 6 DATATYPE, shape 7 TensorShapeProto, tensor 8 TensorProto, func 9 NameAttrList',
  NameAttrList: 'name 1 string, attr 2 AttrEntry',
  TensorShapeProto: 'dim 2 Dim, unknown_rank 3 bool',
  Dim: 'size 1 int, name 2 string',
  TensorProto:
    'dtype 1 DATATYPE, tensor_shape 2 TensorShapeProto, version_number 3 int, tensor_content 4 string, float_val 5 float, double_val 6 double, int_val 7 int, string_val 8 string, scomplex_val 9 float, int64_val 10 int, bool_val 11 bool, dcomplex_val 12 double, half_val 13 int, uint32_val 16 int, uint64_val 17 int',
  FunctionDefLibrary: 'function 1 FunctionDef, gradient 2 GradientDef',
  GradientDef: 'function_name 1 string, gradient_func 2 string',
  FunctionDef:
    'signature 1 OpDef, node_def 3 NodeDef, ret 4 TextEntry, attr 5 AttrEntry, control_ret 6 TextEntry, arg_attr 7 ArgAttrEntry, resource_arg_unique_id 8 IntEntry',
  ArgAttrEntry: 'key 1 int, value 2 ArgAttrs',
  ArgAttrs: 'attr 1 AttrEntry',
  IntEntry: 'key 1 int, value 2 int',
};

/** Names of DataType, whose numbers count from 1; `_REF` behind a name adds 100. */
const DATA_TYPES =
  'FLOAT DOUBLE INT32 UINT8 INT16 INT8 STRING COMPLEX64 INT64 BOOL QINT8 QUINT8 QINT32 BFLOAT16 QINT16 QUINT16 UINT16 COMPLEX128 HALF RESOURCE VARIANT UINT32 UINT64'.split(
    ' ',
  );

const ENUMS: Readonly<Record<string, ReadonlyMap<string, number>>> = {
  DATATYPE: new Map([
    ['DT_INVALID', 0],
    ...DATA_TYPES.map((name, i): [string, number] => [`DT_${name}`, i + 1]),
    ...DATA_TYPES.map((name, i): [string, number] => [`DT_${name}_REF`, i + 101]),
  ]),
  SAVERVERSION: new Map([
    ['LEGACY', 0],
    ['V1', 1],
    ['V2', 2],
  ]),
  FULLTYPE: new Map([
    ['TFT_UNSET', 0],
    ['TFT_VAR', 1],
    ['TFT_ANY', 2],
    ['TFT_PRODUCT', 3],
    ['TFT_NAMED', 4],
    ['TFT_FOR_EACH', 20],
    ['TFT_CALLABLE', 100],
    ['TFT_TENSOR', 1000],
    ['TFT_ARRAY', 1001],
    ['TFT_OPTIONAL', 1002],
    ['TFT_LITERAL', 1003],
    ['TFT_ENCODED', 1004],
    ['TFT_SHAPE_TENSOR', 1005],
    ['TFT_BOOL', 200],
    ['TFT_UINT8', 201],
    ['TFT_INT32', 206],
    ['TFT_INT64', 207],
    ['TFT_FLOAT', 210],
    ['TFT_DATASET', 10102],
  ]),
};

const SCHEMAS: ReadonlyMap<string, MessageSchema> = new Map(
  Object.entries(MESSAGES).map(([message, fields]): [string, MessageSchema] => [
    message,
    parseFields(fields),
  ]),
);

function parseFields(text: string): MessageSchema {
  const fields = text.split(', ').map((field) => field.split(' ') as [string, string, string]);
  return new Map(fields.map(([name, number, kind]) => [name, { number: Number(number), kind }]));
}

export function messageSchema(name: string): MessageSchema | undefined {
  return SCHEMAS.get(name);
}

export function enumNumber(kind: FieldKind, name: string): number | undefined {
  return ENUMS[kind]?.get(name);
}

export function isEnum(kind: FieldKind): boolean {
  return Object.hasOwn(ENUMS, kind);
}

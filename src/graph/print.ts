/**
 * The stable text of a graph: one line per operation, the same for the same graph, made for golden tests and for reading. What has no
 * order (attributes, control inputs) is sorted; operations stand in the graph's order.
 */
import type { Attributes, AttrValue, TensorValue } from './attributes.js';
import { DTYPES, type DType } from './dtype.js';
import type { Graph } from './graph.js';
import { printInputRef } from './name.js';
import type { Operation } from './operation.js';
import { elementCount, printShape } from './shape.js';

export interface PrintOptions {
  /** Which operations to print; all by default. */
  readonly where?: (operation: Operation) => boolean;
  /** Whether attributes are printed; by default they are. */
  readonly attributes?: boolean;
}

/** Tensors of more elements are printed as a checksum. */
const SHOWN_ELEMENTS = 8;
/** Longer strings too. */
const SHOWN_CHARACTERS = 80;

/**
 * The text of a graph.
 *
 * @example
 * ```
 * W = VarHandleOp() @/job:worker/task:0 {dtype=float32, shape=[], shared_name="W"}
 * train_op = NoOp(^train_op/update_W)
 * ```
 */
export function printGraph(
  graph: Graph,
  { where = () => true, attributes = true }: PrintOptions = {},
): string {
  let text = '';
  for (const operation of graph.operations()) {
    if (where(operation)) text += `${printOperation(operation, attributes)}\n`;
  }
  return text;
}

/** One operation on one line. */
export function printOperation(operation: Operation, withAttributes = true): string {
  const data = operation.inputs.map((tensor) =>
    printInputRef({ control: false, operation: tensor.operation.name, index: tensor.index }),
  );
  const controls = operation.controlInputs.map(({ name }) =>
    printInputRef({ control: true, operation: name, index: 0 }),
  );
  const inputs = [...data, ...controls.sort()].join(', ');
  const device = operation.device === '' ? '' : ` @${operation.device}`;
  const values = withAttributes ? printAttributes(operation.attributes) : '';
  return `${operation.name} = ${operation.type}(${inputs})${device}${values === '' ? '' : ` {${values}}`}`;
}

function printAttributes(attributes: Attributes): string {
  const names = [...attributes.names()].sort();
  return names.map((name) => `${name}=${printValue(attributes.get(name))}`).join(', ');
}

/** An attribute's value. */
export function printValue(value: AttrValue | undefined): string {
  if (value === undefined) return '?';
  switch (value.kind) {
    case 'string':
      return printBytes(value.value);
    case 'shape':
      return printShape(value.value);
    case 'type':
      return value.reference === true ? `${value.value}&` : value.value;
    case 'tensor':
      return printTensor(value.value);
    case 'list':
      return `[${value.items.map(printValue).join(', ')}]`;
    case 'func':
      return `${value.name}{${printAttributes(value.attributes)}}`;
    case 'placeholder':
      return `$${value.value}`;
    case 'unknown':
      return `<${value.bytes.length} bytes ${checksum([value.bytes])}>`;
    default:
      return String(value.value);
  }
}

function printBytes(bytes: Uint8Array): string {
  if (bytes.length > SHOWN_CHARACTERS) return `<${bytes.length} bytes ${checksum([bytes])}>`;
  return JSON.stringify(Buffer.from(bytes).toString('latin1'));
}

function printTensor({ dtype, shape, bytes, strings }: TensorValue): string {
  const head = `${dtype}${printShape(shape)}`;
  const count = elementCount(shape);
  if (strings !== undefined) {
    return count > SHOWN_ELEMENTS
      ? `${head}(${checksum(strings)})`
      : `${head}(${strings.map(printBytes).join(', ')})`;
  }
  const read = READERS[dtype];
  if (count > SHOWN_ELEMENTS || read === undefined) return `${head}(${checksum([bytes])})`;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements = Array.from({ length: count }, (_, i) => String(read(view, i * DTYPES[dtype].size)));
  return `${head}(${elements.join(', ')})`;
}

const READERS: Partial<Record<DType, (view: DataView, at: number) => number | bigint | boolean>> = {
  float32: (view, at) => view.getFloat32(at, true),
  float64: (view, at) => view.getFloat64(at, true),
  int8: (view, at) => view.getInt8(at),
  uint8: (view, at) => view.getUint8(at),
  int16: (view, at) => view.getInt16(at, true),
  int32: (view, at) => view.getInt32(at, true),
  int64: (view, at) => view.getBigInt64(at, true),
  bool: (view, at) => view.getUint8(at) !== 0,
};

/** FNV-1a over all bytes, in hexadecimal: tells two values apart in a test, and nothing more. */
function checksum(parts: readonly Uint8Array[]): string {
  let hash = 0x811c9dc5;
  for (const part of parts) for (const byte of part) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}

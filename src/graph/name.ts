/**
 * Names: the one place that parses and composes names of operations, scopes, tensors, node inputs and colocation groups. Everyone else
 * holds references; a name is printed here from them and never read back.
 */
import { GradsyncError } from '../errors.js';

/** `operation:index`, taken apart. */
export interface TensorName {
  readonly operation: string;
  readonly index: number;
}

/** What a user fetches: a tensor (`loss:0`), or an operation (`train_op`) where `index` is undefined. */
export interface FetchName {
  readonly operation: string;
  readonly index: number | undefined;
}

/** An entry of a node's input list: data (`a`, `a:1`) or control (`^a`, with index 0). */
export interface InputRef {
  readonly control: boolean;
  readonly operation: string;
  readonly index: number;
}

const SEPARATOR = '/';
/** One section begins with a letter, digit or dot; sections are joined by `>` (TensorFlow's Graph and IsValidOpName). */
const SECTION = '[A-Za-z0-9.][A-Za-z0-9_.\\-/]*';
const OPERATION_NAME = new RegExp(`^${SECTION}(?:>${SECTION})*$`);
const COLOCATION_PREFIX = 'loc:@';
const COLON = 58;
const CARET = 94;
const ZERO = 48;
const NINE = 57;

/** Whether TensorFlow's importer accepts `name` for an operation. */
export function isValidOperationName(name: string): boolean {
  return OPERATION_NAME.test(name);
}

/** `a/b:1` -> a/b, 1; without an index it means output 0. Bad text is INVALID_ARGUMENT. */
export function parseTensorName(text: string): TensorName {
  const { operation, index } = parseFetchName(text);
  return { operation, index: index ?? 0 };
}

/** As parseTensorName, but tells an operation (`train_op`) from its output 0 (`train_op:0`). */
export function parseFetchName(text: string): FetchName {
  const colon = indexColon(text);
  const operation = colon < 0 ? text : text.slice(0, colon);
  if (!isValidOperationName(operation)) throw badName(text);
  return { operation, index: colon < 0 ? undefined : outputIndex(text, colon) };
}

export function printTensorName(operation: string, index: number): string {
  return `${operation}:${index}`;
}

/** An entry of a node's input list. The name is not checked here: unknown ones are met when it is looked up. */
export function parseInputRef(text: string): InputRef {
  if (text.charCodeAt(0) === CARET) return { control: true, operation: text.slice(1), index: 0 };
  const colon = indexColon(text);
  if (colon < 0) return { control: false, operation: text, index: 0 };
  return { control: false, operation: text.slice(0, colon), index: outputIndex(text, colon) };
}

/** An entry of a node's input list inside a function: an argument (`x`), an output by its name and number there (`a:sum:0`), or `^a`. */
export interface FunctionInputRef extends InputRef {
  /** Name of the output; undefined for arguments and control inputs. */
  readonly output: string | undefined;
}

export function parseFunctionInputRef(text: string): FunctionInputRef {
  const { control, operation, index } = parseInputRef(text);
  const colon = control ? -1 : operation.lastIndexOf(':');
  if (colon < 0) return { control, operation, index, output: undefined };
  return { control, operation: operation.slice(0, colon), index, output: operation.slice(colon + 1) };
}

/** TensorFlow's form: `^a` for control, `a` for output 0, `a:1` for others. */
export function printInputRef({ control, operation, index }: InputRef): string {
  if (control) return `^${operation}`;
  return index === 0 ? operation : printTensorName(operation, index);
}

/** What follows the last slash. */
export function baseName(name: string): string {
  return name.slice(name.lastIndexOf(SEPARATOR) + 1);
}

/** Parts joined by slashes; empty ones are left out. */
export function joinName(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(SEPARATOR);
}

/** Whether `name` is `scope` itself or lies below it. Every name is in the scope `''`. */
export function isInScope(name: string, scope: string): boolean {
  if (scope === '') return true;
  return name.startsWith(scope) && (name.length === scope.length || name[scope.length] === SEPARATOR);
}

/** `base_1`, the way TensorFlow makes a name unique. */
export function numberedName(base: string, number: number): string {
  return `${base}_${number}`;
}

/** The operation a colocation group (`loc:@name`, an entry of the attribute `_class`) names, or undefined if it is none. */
export function parseColocation(group: string): string | undefined {
  return group.startsWith(COLOCATION_PREFIX) ? group.slice(COLOCATION_PREFIX.length) : undefined;
}

export function printColocation(operation: string): string {
  return COLOCATION_PREFIX + operation;
}

/** Position of the colon before a trailing number, or -1. Scans back over digits only, as node inputs are parsed by the million. */
function indexColon(text: string): number {
  let i = text.length - 1;
  while (i > 0 && text.charCodeAt(i) >= ZERO && text.charCodeAt(i) <= NINE) i--;
  return text.charCodeAt(i) === COLON && i > 0 && i < text.length - 1 ? i : -1;
}

function outputIndex(text: string, colon: number): number {
  const index = Number(text.slice(colon + 1));
  if (index > 0x7fffffff) throw badName(text);
  return index;
}

function badName(text: string): GradsyncError {
  return new GradsyncError('INVALID_ARGUMENT', 'Tensor name', {
    expected: 'an operation name of letters, digits and "_ . - / >", optionally with ":output"',
    received: JSON.stringify(text),
    remedy: 'write it as TensorFlow prints it, e.g. "dense/kernel:0"',
  });
}

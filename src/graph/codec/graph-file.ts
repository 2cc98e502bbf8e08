/** Opens whatever graph file a user has: a GraphDef or MetaGraphDef, binary or text, told apart by what stands in them. */
import { GradsyncError } from '../../errors.js';
import { isValidOperationName } from '../name.js';
import { decodeGraphDef } from './graph-def.js';
import { decodeMetaGraphDef, type MetaGraph } from './meta-graph-def.js';
import { encodeText, looksLikeText } from './text-format.js';
import { BYTES, notAGraph, VARINT, WireReader } from './wire.js';

const OPERATION_TYPE = /^[A-Za-z_][A-Za-z0-9_>.]*$/;
const FIRST_FIELD = 1;
const NODE = { name: 1, type: 2 } as const;

/**
 * Reads a graph file. A GraphDef comes as a MetaGraph without collections.
 *
 * Throws DATA_LOSS for a truncated file and INVALID_ARGUMENT for one that holds no graph; both name `file`.
 */
export function decodeGraphFile(bytes: Uint8Array, file?: string): MetaGraph {
  try {
    return decodeAny(looksLikeText(bytes) ? encodeText(Buffer.from(bytes).toString()) : bytes);
  } catch (error) {
    if (!(error instanceof GradsyncError) || file === undefined) throw error;
    const { operation } = error.details;
    const where = operation === undefined ? '' : `, operation "${operation}"`;
    const details = { ...error.details, file };
    throw new GradsyncError(error.code, `Graph file ${file}${where}`, details, { cause: error });
  }
}

function decodeAny(bytes: Uint8Array): MetaGraph {
  const reader = new WireReader(bytes);
  if (bytes.length === 0) throw notAGraph('an empty file', 0);
  reader.next();
  if (reader.is(FIRST_FIELD, VARINT)) throw notAGraph('what looks like a SavedModel', 0);
  if (reader.wireType !== BYTES) throw notAGraph('something else', 0);
  if (reader.field === FIRST_FIELD && isNode(reader.bytes())) return bareGraph(bytes);
  return decodeMetaGraphDef(bytes);
}

function bareGraph(bytes: Uint8Array): MetaGraph {
  const none = new Uint8Array();
  return {
    graph: decodeGraphDef(bytes),
    collections: new Map(),
    saver: undefined,
    before: none,
    after: none,
  };
}

/** Whether a message is a NodeDef rather than a MetaInfoDef, the first field of a MetaGraphDef. */
function isNode(bytes: Uint8Array): boolean {
  const reader = new WireReader(bytes);
  let name = '';
  let type = '';
  while (reader.next()) {
    // In a MetaInfoDef field 2 is a message, whose first byte is a tag and no letter.
    if (reader.is(NODE.name, BYTES)) name = Buffer.from(reader.bytes()).toString('latin1');
    else if (reader.is(NODE.type, BYTES)) type = Buffer.from(reader.bytes()).toString('latin1');
    else reader.skip();
  }
  return isValidOperationName(name) && OPERATION_TYPE.test(type);
}

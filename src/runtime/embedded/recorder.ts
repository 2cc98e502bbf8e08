/**
 * Recorder: spans of time, in memory that task and session share, so that they are there even when the task's thread has died. The task
 * writes, one span after the other; the session reads when the thread has ended. A full recorder drops what comes later and counts it.
 */
import { SPAN_KINDS, type SpanKind, type TaskTrace } from '../trace.js';

/** Spans per task: some thousand steps of a small model. Pages that are never written cost nothing. */
const CAPACITY = 2 ** 20;
const COUNT = 0;
const DROPPED = 1;
const HEADER_BYTES = 2 * Int32Array.BYTES_PER_ELEMENT;
/** Kind, position of the operation in the graph (-1 for none), begin and duration. */
const ROW = 4;
const NO_OPERATION = -1;

export function createRecord(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + CAPACITY * ROW * Float64Array.BYTES_PER_ELEMENT);
}

export class Recorder {
  readonly #header: Int32Array;
  readonly #rows: Float64Array;

  constructor(record: SharedArrayBuffer) {
    this.#header = new Int32Array(record, 0, 2);
    this.#rows = new Float64Array(record, HEADER_BYTES);
  }

  /** Milliseconds since the epoch, with the resolution of performance.now(): threads have the same clock. */
  now(): number {
    return performance.timeOrigin + performance.now();
  }

  /** A span from `begin` to now. `operation` is a position in the graph. */
  add(kind: SpanKind, begin: number, operation = NO_OPERATION): void {
    const count = this.#header[COUNT]!;
    if (count === CAPACITY) {
      this.#header[DROPPED]!++;
      return;
    }
    const at = count * ROW;
    this.#rows[at] = SPAN_KINDS.indexOf(kind);
    this.#rows[at + 1] = operation;
    this.#rows[at + 2] = begin;
    this.#rows[at + 3] = this.now() - begin;
    Atomics.store(this.#header, COUNT, count + 1);
  }

  /** What was recorded; `operations` are those of the task's graph, in its order. */
  read(task: number, operations: readonly { name: string; type: string }[]): TaskTrace {
    const spans = Array.from({ length: Atomics.load(this.#header, COUNT) }, (_, i) => {
      const [kind, position, beginMs, durationMs] = this.#rows.subarray(i * ROW, (i + 1) * ROW);
      const { name, type } = operations[position!] ?? { name: '', type: '' };
      return { kind: SPAN_KINDS[kind!]!, name, type, beginMs: beginMs!, durationMs: durationMs! };
    });
    return { task, spans, dropped: Atomics.load(this.#header, DROPPED) };
  }
}

/** What a session recorded of where its time went: a list of spans per task. Printing is the report room's. */

/**
 * What a span of time was spent on. Within a task, steps and runs do not overlap, and neither do kernels, copies, updates and idle times: one thread
 * does them all. Waits overlap everything: other operations run meanwhile, and only `idle` is time lost.
 */
export const SPAN_KINDS = ['step', 'run', 'kernel', 'copy', 'update', 'wait', 'idle'] as const;

/**
 * `step`: a training step, from its first operation to its last; `run`: likewise what runs between steps; `kernel`: arithmetic in the task's own memory; `copy`: between that and the shared native
 * objects; `update`: of shared variables; `wait`: for a native object; `idle`: no operation of the step could run.
 */
export type SpanKind = (typeof SPAN_KINDS)[number];

export interface TraceSpan {
  readonly kind: SpanKind;
  /** The operation's name and type; empty for steps, runs and idle times. */
  readonly name: string;
  readonly type: string;
  /** Milliseconds since the epoch. */
  readonly beginMs: number;
  readonly durationMs: number;
}

export interface TaskTrace {
  readonly task: number;
  /** In the order in which they ended. */
  readonly spans: readonly TraceSpan[];
  /** Spans for which there was no room: the last ones. */
  readonly dropped: number;
}

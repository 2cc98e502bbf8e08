/** Where the time of a task's steps went: sums of the spans of a trace, per step. */
import type { SpanKind, TaskTrace } from '../runtime/index.js';

/** Milliseconds per step of one task. */
export interface StepTimes {
  readonly task: number;
  readonly steps: number;
  /** From the beginning of a step to that of the next one. */
  readonly period: number;
  /** Within steps: arithmetic, copies between the task's memory and shared objects, updates of shared variables, nothing to do. */
  readonly kernel: number;
  readonly copy: number;
  readonly update: number;
  readonly idle: number;
  /** The rest of the period: scheduling, and between steps. */
  readonly overhead: number;
}

/** Sums over the training steps of each task, the first `skip` left out. */
export function summarizeSteps(tasks: readonly TaskTrace[], skip = 0): StepTimes[] {
  return tasks.map(({ task, spans }) => {
    const steps = spans.filter(({ kind }) => kind === 'step').slice(skip);
    const [first, last] = [steps[0]?.beginMs ?? 0, steps.at(-1)?.beginMs ?? 0];
    // The last step ends the period of the one before it.
    const count = Math.max(0, steps.length - 1);
    const inside = spans.filter(({ beginMs }) => beginMs >= first && beginMs < last);
    const perStep = (kind: SpanKind): number =>
      inside.reduce((sum, span) => sum + (span.kind === kind ? span.durationMs : 0), 0) / Math.max(1, count);
    const parts = {
      kernel: perStep('kernel'),
      copy: perStep('copy'),
      update: perStep('update'),
      idle: perStep('idle'),
    };
    const period = (last - first) / Math.max(1, count);
    const overhead = period - parts.kernel - parts.copy - parts.update - parts.idle;
    return { task, steps: count, period, ...parts, overhead };
  });
}

/**
 * Chrome's trace event format, which chrome://tracing and ui.perfetto.dev show: one row per task. Waits are asynchronous events of their
 * own, as they overlap what the thread does meanwhile.
 */
import type { TaskTrace, TraceSpan } from '../runtime/index.js';

const MICROSECONDS = 1000;

/** The spans of all tasks as the text of a trace file. Times begin at the first span. */
export function printChromeTrace(tasks: readonly TaskTrace[]): string {
  const origin = tasks.reduce((first, { spans }) => Math.min(first, earliest(spans)), Infinity);
  const events = tasks.flatMap(({ task, spans, dropped }) => [
    { ph: 'M', name: 'thread_name', pid: 0, tid: task, args: { name: `task ${task}`, dropped } },
    ...spans.flatMap((span, i) => eventsOf(span, task, origin, `${task}.${i}`)),
  ]);
  const lines = events.map((event) => JSON.stringify(event)).join(',\n');
  return `{"displayTimeUnit":"ms","traceEvents":[\n${lines}\n]}\n`;
}

function earliest(spans: readonly TraceSpan[]): number {
  return spans.reduce((first, { beginMs }) => Math.min(first, beginMs), Infinity);
}

function eventsOf(span: TraceSpan, tid: number, origin: number, id: string): object[] {
  const { kind, name, type, durationMs } = span;
  const ts = (span.beginMs - origin) * MICROSECONDS;
  const dur = durationMs * MICROSECONDS;
  const common = { name: type === '' ? kind : type, cat: kind, pid: 0, tid, ts };
  const args = name === '' ? {} : { args: { operation: name } };
  if (kind !== 'wait') return [{ ...common, ph: 'X', dur, ...args }];
  return [
    { ...common, ph: 'b', id, ...args },
    { ...common, ph: 'e', id, ts: ts + dur },
  ];
}

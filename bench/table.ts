/** Prints rows for people. */
import type { BenchRow } from './case.js';

const COLUMNS = ['case', 'size', 'ours', 'p99', 'rival', 'rival time', 'ratio', 'of the limit'] as const;

export function printRows(rows: readonly BenchRow[]): string {
  const cells = [[...COLUMNS], ...rows.map(toCells)];
  const widths = COLUMNS.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const lines = cells.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  );
  const notes = rows
    .filter((row) => row.note !== undefined)
    .map((row) => `${row.case} ${row.size}: ${row.note}`);
  return [
    lines[0],
    widths.map((width) => '-'.repeat(width)).join('  '),
    ...lines.slice(1),
    '',
    ...notes,
  ].join('\n');
}

function toCells(row: BenchRow): string[] {
  return [
    row.case,
    row.size,
    timeOf(row.oursMs),
    timeOf(row.oursP99Ms ?? null),
    row.rival,
    timeOf(row.rivalMs),
    row.ratio === null ? '-' : `${row.ratio.toFixed(2)}x`,
    row.limitRatio === null ? '-' : `${(100 * row.limitRatio).toFixed(0)} %`,
  ];
}

function timeOf(value: number | null): string {
  if (value === null) return '-';
  if (value < 0.1) return `${(1000 * value).toPrecision(3)} us`;
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ms`;
}

/** Tables in text, for people. */

export type Row = readonly string[];

/** A heading and aligned rows; nothing where there are none. */
export function section(title: string, rows: readonly Row[]): string {
  if (rows.length === 0) return '';
  const widths = rows[0]!.map((_, column) =>
    rows.reduce((width, row) => Math.max(width, row[column]?.length ?? 0), 0),
  );
  const lines = rows.map((row) =>
    `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')}`.trimEnd(),
  );
  return `\n${title}\n${lines.join('\n')}\n`;
}

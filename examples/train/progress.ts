/** Progress of a long job: a bar that redraws itself on a terminal, a plain line every few seconds elsewhere. */

export interface Progress {
  /** `note` is a short text beside the bar, such as the loss. */
  update(done: number, note: string): void;
  finish(note: string): void;
  /** Leaves the line, if one is being drawn: something else is to be written. */
  stop(): void;
}

const BAR_WIDTH = 30;
const REDRAW_MS = 100;
const LINE_MS = 5000;

export function startProgress(
  label: string,
  total: number,
  out: NodeJS.WriteStream = process.stderr,
): Progress {
  const tty = out.isTTY === true;
  let last = tty ? 0 : Date.now();
  let isDrawing = false;
  const show = (done: number, note: string): void => {
    const percent = Math.floor((100 * done) / total);
    isDrawing = tty;
    out.write(
      tty
        ? `\r\u001b[K${label} ${bar(done / total)} ${percent} % ${note}`
        : `${label} ${percent} % ${note}\n`,
    );
  };
  return {
    update(done, note) {
      const now = Date.now();
      if (now - last < (tty ? REDRAW_MS : LINE_MS)) return;
      last = now;
      show(done, note);
    },
    finish(note) {
      show(total, note);
      this.stop();
    },
    stop() {
      if (isDrawing) out.write('\n');
      isDrawing = false;
    },
  };
}

function bar(fraction: number): string {
  const full = Math.round(fraction * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}]`;
}

/** Node in processes of its own: the real `gradsync` command, other programs of the project, programs given as a text. Few run at once. */
import { spawn } from 'node:child_process';
import { projectPath } from './paths.js';
import { PROCESS_MS } from './patience.js';

export interface ProcessResult {
  /** -1 of one that a signal ended; one that takes too long is killed. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Many at once would take each other's time, and the memory of a small machine. */
class Places {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async during<T>(use: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await use();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

const places = new Places(2);

/** Runs `node ...args`. */
export function runNode(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ProcessResult> {
  return places.during(
    () =>
      new Promise((resolve, reject) => {
        const child = spawn(process.execPath, args, {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...process.env, ...env },
        });
        const timer = setTimeout(() => child.kill('SIGKILL'), PROCESS_MS);
        const written = { stdout: '', stderr: '' };
        for (const stream of ['stdout', 'stderr'] as const) {
          child[stream].setEncoding('utf8').on('data', (text: string) => {
            written[stream] += text;
          });
        }
        child.on('error', reject);
        child.on('close', (code) => {
          clearTimeout(timer);
          resolve({ code: code ?? -1, ...written });
        });
      }),
  );
}

/** Runs a module given as a text, with the garbage collector at hand as `gc`. */
export function runText(program: string, env: Readonly<Record<string, string>> = {}): Promise<ProcessResult> {
  return runNode(['--expose-gc', '--input-type=module', '--eval', program], env);
}

/** Runs a compiled program of the project. */
export function runProgram(script: string, args: readonly string[]): Promise<ProcessResult> {
  return runNode([script, ...args]);
}

export function runCli(...args: readonly string[]): Promise<ProcessResult> {
  return runProgram(projectPath('dist', 'src', 'launch', 'cli.js'), args);
}

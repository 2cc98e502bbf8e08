/** Runs the real `gradsync` command, and other programs of the project, in a process of its own. */
import { execFile } from 'node:child_process';
import { projectPath } from './paths.js';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const DEADLINE_MS = 60_000;

export function runCli(...args: readonly string[]): Promise<CliResult> {
  return runProgram(projectPath('dist', 'src', 'launch', 'cli.js'), args, DEADLINE_MS);
}

/** Runs a compiled program of the project; it is killed after `deadlineMs` and its code is -1 then. */
export function runProgram(script: string, args: readonly string[], deadlineMs: number): Promise<CliResult> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [script, ...args],
      { timeout: deadlineMs, maxBuffer: 1 << 26 },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

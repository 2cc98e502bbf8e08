/**
 * Finds a Python that has TensorFlow, and runs Python programs as real processes with a deadline.
 * Searched in this order: the environment variable GRADSYNC_PYTHON, `.venv/bin/python`, `python3`.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { projectPath, projectRoot } from './paths.js';

export type TensorflowSearch =
  | { readonly found: true; readonly python: string; readonly version: string }
  | { readonly found: false; readonly reason: string };

/** Asks for the package's version without importing it, which would take seconds. Several distributions bring the same package. */
const PROBE = `
import importlib.metadata, numpy
print(importlib.metadata.version(importlib.metadata.packages_distributions()['tensorflow'][0]))
`;

const TORCH_PROBE = "import importlib.metadata; print(importlib.metadata.version('torch'))";

function probe(python: string, program: string): string | undefined {
  const { status, stdout } = spawnSync(python, ['-c', program], { encoding: 'utf8', timeout: 60_000 });
  return status === 0 ? stdout.trim() : undefined;
}

function pythonCandidates(): readonly string[] {
  const named = process.env['GRADSYNC_PYTHON'];
  return [...(named ? [named] : []), projectPath('.venv', 'bin', 'python'), 'python3'];
}

/** Looks for TensorFlow; call it once per test file. */
export function findTensorflow(): TensorflowSearch {
  const candidates = pythonCandidates();
  for (const python of candidates) {
    const version = probe(python, PROBE);
    if (version !== undefined) return { found: true, python, version };
  }
  return {
    found: false,
    reason: `none of ${candidates.join(', ')} has TensorFlow; pip install tensorflow-cpu==2.21.0, or set GRADSYNC_PYTHON`,
  };
}

/** A Python that has PyTorch, where there is one. */
export function findTorch(): string | undefined {
  return pythonCandidates().find((python) => probe(python, TORCH_PROBE) !== undefined);
}

export interface PythonResult {
  readonly stdout: string;
  readonly stderr: string;
}

export interface PythonOptions {
  /** The process and its children are killed after this many milliseconds. Default: two minutes. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Runs `python ...args` in the project's root folder; rejects, with what it wrote to stderr, when it fails or is late. */
export function runPython(
  python: string,
  args: readonly string[],
  { timeoutMs = 120_000, env = {}, signal }: PythonOptions = {},
): Promise<PythonResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(python, args, {
      cwd: projectRoot,
      env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2', TF_ENABLE_ONEDNN_OPTS: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    let killedFor: string | undefined;
    const kill = (why: string): void => {
      killedFor ??= why;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => kill(`it ran longer than ${timeoutMs} ms`), timeoutMs);
    const onAbort = (): void => kill('another process of the same test failed');
    signal?.addEventListener('abort', onAbort);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signalName) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      if (code === 0) resolve({ stdout, stderr });
      else
        reject(
          new Error(
            `python ${args.join(' ')}: ${killedFor ?? `exit ${code ?? signalName}`}\n${stderr.slice(-8000)}`,
          ),
        );
    });
  });
}

/** Runs several Python programs side by side; the first that fails ends the others, and its error is the one thrown. */
export async function runPythonTogether(
  python: string,
  programs: readonly (readonly string[])[],
  options: PythonOptions = {},
): Promise<readonly PythonResult[]> {
  const abort = new AbortController();
  let firstError: unknown;
  const runs = programs.map((args) =>
    runPython(python, args, { ...options, signal: abort.signal }).catch((error: unknown) => {
      firstError ??= error;
      abort.abort();
      throw error;
    }),
  );
  await Promise.allSettled(runs);
  if (firstError !== undefined) throw firstError;
  return Promise.all(runs);
}

/** Below the range from which systems hand out ports of outgoing connections: those would take a port between the look and its use. */
const PORTS = { first: 12_000, count: 18_000 };

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

/** `count` different TCP ports that were free on the loopback a moment ago. Ask for all that a test needs at once. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const found = new Map<number, Server>();
  while (found.size < count) {
    const port = PORTS.first + randomInt(PORTS.count);
    const server = found.has(port) ? undefined : await listen(port);
    if (server !== undefined) found.set(port, server);
  }
  await Promise.all([...found.values()].map((server) => new Promise((resolve) => server.close(resolve))));
  return [...found.keys()];
}

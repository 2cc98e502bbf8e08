/**
 * Finds a Python that has TensorFlow, and runs Python programs as real processes with a deadline; finds ports for them.
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
  const { status, stdout } = spawnSync(python, ['-c', program], { encoding: 'utf8', timeout: 300_000 });
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
  /** The process is killed when it has written nothing for so many milliseconds: far more than any needs, against a hang. Default: ten minutes. */
  readonly silenceMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs `python ...args` in the project's root folder; rejects, with what it wrote to stderr, when it fails or is silent for too long. */
export function runPython(
  python: string,
  args: readonly string[],
  { silenceMs = 600_000, env = {} }: PythonOptions = {},
): Promise<PythonResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(python, args, {
      cwd: projectRoot,
      env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2', TF_ENABLE_ONEDNN_OPTS: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const written = { stdout: '', stderr: '' };
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, silenceMs);
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        written[stream] += text;
        timer.refresh();
      });
    }
    child.on('error', reject);
    child.on('close', (code, signalName) => {
      clearTimeout(timer);
      if (code === 0) return resolve(written);
      const reason = isLate ? `it wrote nothing for ${silenceMs} ms` : `exit ${code ?? signalName}`;
      reject(new Error(`python ${args.join(' ')}: ${reason}\n${written.stderr.slice(-8000)}`));
    });
  });
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

/** Below the range from which systems hand out ports of outgoing connections: those would take a port between the look and its use. */
const PORTS = { first: 12_000, end: 30_000, perBlock: 500 };

/**
 * Ports for servers that tests start, in blocks that belong to one process at a time: who listens on the first port of a block has it, until
 * the process ends. So no two test files that run side by side choose the same.
 */
class PortBlocks {
  /** The next port to look at, and where the block ends. */
  #next = 0;
  #end = 0;

  async take(): Promise<number> {
    for (;;) {
      if (this.#next === this.#end) await this.#takeBlock();
      const port = this.#next++;
      const server = await listen(port);
      if (server === undefined) continue;
      await new Promise((resolve) => server.close(resolve));
      return port;
    }
  }

  async #takeBlock(): Promise<void> {
    const blocks = (PORTS.end - PORTS.first) / PORTS.perBlock;
    for (let tries = 0; tries < 20 * blocks; tries++) {
      const first = PORTS.first + PORTS.perBlock * randomInt(blocks);
      const mark = await listen(first);
      if (mark === undefined) continue;
      mark.unref();
      this.#next = first + 1;
      this.#end = first + PORTS.perBlock;
      return;
    }
    throw new Error(`no ports are free from ${PORTS.first} to ${PORTS.end}`);
  }
}

const portBlocks = new PortBlocks();

/** `count` different TCP ports of the loopback that are free, and that no other test takes. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await portBlocks.take());
  return ports;
}

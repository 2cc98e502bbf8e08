/**
 * Entry of a task thread: opens the thread's wasm backend, attaches to the native session, then serves messages until it is terminated.
 * Runs follow each other in order; questions about arrivals are answered while a run waits.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../addon/load.js';
import type { TensorData } from '../executor.js';
import { openBackend } from './backend.js';
import { Binder } from './binding.js';
import { BoardRow } from './board.js';
import { reportFailure } from './failure.js';
import { COMPUTE_KERNELS } from './kernels/index.js';
import { RESOURCE_KERNELS } from './kernels/resource-kernels.js';
import { openTaskGraph } from './lowering/lower.js';
import { encodeError, type FromTask, type TaskOptions, type ToTask } from './messages.js';
import { Recorder } from './recorder.js';
import { TaskResources } from './resources.js';
import { Task } from './task.js';
import { ThreadRuntime } from './task-runtime.js';
import { TrafficRow } from './traffic-board.js';

async function openTask({
  task,
  graph: bytes,
  session,
  deadlineMs,
  board,
  traffic,
  taskCount,
  loop,
  row: place,
  record,
}: TaskOptions): Promise<Task> {
  const backend = await openBackend();
  const graph = openTaskGraph(bytes);
  const addon = loadAddon();
  const native = addon.attachSession(session);
  const resources = new TaskResources(native, backend, task, loop);
  const binder = new Binder(resources, COMPUTE_KERNELS, RESOURCE_KERNELS);
  binder.checkGraph(graph);
  const row = new BoardRow(board, place);
  const runtime = new ThreadRuntime(addon, backend, deadlineMs);
  const recorder = record === null ? undefined : new Recorder(record);
  const counts = new TrafficRow(traffic, taskCount, place);
  return new Task({ graph, resources, binder, runtime, row, traffic: counts, recorder });
}

/** Serves one task. After the first failure nothing runs any more. */
class TaskServer {
  readonly #task: Task;
  readonly #options: TaskOptions;
  readonly #port: MessagePort;
  #runs: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(task: Task, options: TaskOptions, port: MessagePort) {
    this.#task = task;
    this.#options = options;
    this.#port = port;
    port.on('message', (message: ToTask) => this.#receive(message));
    this.#send({ kind: 'opened', variables: task.variables(), meetings: task.meetings() });
  }

  #receive(message: ToTask): void {
    switch (message.kind) {
      case 'run':
        this.#runs = this.#runs.then(() => this.#run(message));
        return;
      case 'arrivals':
        this.#send({ kind: 'arrivals', call: message.call, ...this.#task.arrival(message.key) });
        return;
      case 'loop':
        void this.#loop(message.program);
        return;
      default:
        this.#send(this.#answer(message));
    }
  }

  /** What can be refused without harm. */
  #answer(message: Exclude<ToTask, { kind: 'run' | 'arrivals' | 'loop' }>): FromTask {
    const { call } = message;
    try {
      switch (message.kind) {
        case 'prepare':
          return { kind: 'prepared', call, program: this.#task.prepare(message.request) };
        case 'check':
          this.#task.checkShapes(message.program, message.shapes);
          return { kind: 'checked', call };
        case 'progress':
          if (message.progress !== undefined) this.#task.progress = message.progress;
          return { kind: 'progress', call, progress: this.#task.progress };
      }
    } catch (error) {
      return { kind: 'refused', call, error: encodeError(error) };
    }
  }

  async #run({ call, program, feeds }: Extract<ToTask, { kind: 'run' }>): Promise<void> {
    if (this.#failed) return;
    try {
      const values = await this.#task.run(program, feeds);
      this.#send({ kind: 'done', call, values }, buffersOf(values));
    } catch (error) {
      this.#fail(error);
    }
  }

  async #loop(program: number): Promise<void> {
    try {
      for (;;) {
        await this.#task.run(program, []);
        this.#send({ kind: 'round' });
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#failed = true;
    const { task, board, row, loop } = this.#options;
    const { step, activity } = new BoardRow(board, row).read();
    const place = { task, step, activity, inBackground: loop !== null };
    this.#send({ kind: 'failed', ...reportFailure(error, place) });
  }

  #send(message: FromTask, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}

function buffersOf(values: readonly TensorData[]): ArrayBuffer[] {
  return values.flatMap(({ data }) => (ArrayBuffer.isView(data) ? [data.buffer as ArrayBuffer] : []));
}

async function main(port: MessagePort, options: TaskOptions): Promise<void> {
  try {
    new TaskServer(await openTask(options), options, port);
  } catch (error) {
    port.postMessage({ kind: 'failed', error: encodeError(error) } satisfies FromTask);
  }
}

if (parentPort !== null) await main(parentPort, workerData as TaskOptions);

/**
 * A program of which some variables are copies on every task and some on servers, dense ones and sparse ones of both sorts, with as many rows
 * on each task as there happen to be; and what it comes to, exactly.
 */
import { elementCount } from '../../src/graph/shape.js';
import {
  allReduce,
  loadBalancedParameterServer,
  type StrategyBuilder,
  type VariablePlan,
} from '../../src/strategy/index.js';
import { type FedProgram, fedProgram, type Gradients } from './fed-gradients.js';

/** Dense and sliced, of which each a copy on every task and the other on a server; trained by two optimizers, each of which has both. */
const SHAPES = { kernel: [3, 2], words: [5, 3], bias: [4], table: [6, 2] } as const;
type Name = keyof typeof SHAPES;
export const MIXED_NAMES = Object.keys(SHAPES) as Name[];
const TRAIN_OPS = { train_first: ['kernel', 'table'], train_second: ['bias', 'words'] };
const SLICED = ['words', 'table'];
const ON_SERVERS = new Set(['bias', 'table']);
/** Rows of each task in each step: none of one, none of all, as many of all, lengths that are padded to several powers of two. */
const ROWS: readonly (readonly number[])[] = [
  [0, 3, 1],
  [9, 1, 0],
  [0, 0, 0],
  [2, 2, 2],
  [1, 6, 5],
];

/** Multiples of the number of tasks: means and sums of them are exact in any order. */
const gradientsOf =
  (tasks: number): Gradients =>
  (task, step) =>
    Object.fromEntries(
      Object.entries(SHAPES).map(([name, shape], variable) => {
        const whole = (seed: number): number =>
          tasks * (((seed * 37 + task * 11 + step * 5 + variable) % 17) - 8);
        const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => whole(i));
        if (!SLICED.includes(name)) return [name, numbers(elementCount(shape))];
        const rows = ROWS[step]![(task + variable) % ROWS[step]!.length]!;
        const indices = Array.from({ length: rows }, (_, i) => (i * i + 2 * task + step) % shape[0]);
        return [name, { indices, values: numbers(rows * elementCount(shape.slice(1))) }];
      }),
    );

/** Copies for the first, servers for the others. */
export const MIXED_STRATEGY: StrategyBuilder = {
  name: 'by-hand',
  build: (model, cluster) => {
    const [copies, servers] = [allReduce(), loadBalancedParameterServer()].map((each) =>
      each.build(model, cluster),
    );
    const isOnServer = ({ variable }: VariablePlan): boolean => ON_SERVERS.has(variable);
    const plans = copies!.variables.map((plan, i) => (isOnServer(plan) ? servers!.variables[i]! : plan));
    return { ...copies!, builder: 'by-hand', variables: plans };
  },
};

export function mixedProgram(tasks: number): FedProgram {
  return fedProgram(SHAPES, gradientsOf(tasks), ROWS.length, { sliced: SLICED, trainOps: TRAIN_OPS });
}

/** A variable after all steps. */
export function mixedResult(name: Name, tasks: number): readonly number[] {
  const values = new Array<number>(elementCount(SHAPES[name])).fill(0);
  const width = elementCount(SHAPES[name].slice(1));
  for (const step of ROWS.keys()) {
    for (let task = 0; task < tasks; task++) {
      const gradient = gradientsOf(tasks)(task, step)[name]!;
      const [rows, added] =
        'indices' in gradient ? [gradient.indices, gradient.values] : [undefined, gradient];
      for (const [i, value] of added.entries()) {
        const at = rows === undefined ? i : rows[Math.floor(i / width)]! * width + (i % width);
        values[at]! -= value / tasks;
      }
    }
  }
  return values;
}

/** Shapes that are told before a step are those that TensorFlow's kernels gave; what does not fit is told too, and nothing else. */
import { readdirSync, readFileSync } from 'node:fs';
import test from 'ava';
import { attr } from '../../../src/graph/attributes.js';
import type { Known } from '../../../src/runtime/embedded/shape-rules.js';
import { isSmall, SHAPE_RULES } from '../../../src/runtime/embedded/shape-rules.js';
import { projectPath } from '../../helpers/paths.js';
import { throwsTyped } from '../../helpers/throws.js';
import { ints, operation } from './kernels/tools.js';
import { type ArrayJson, type CaseJson, decodeArray, operationOf } from './kernels/vectors.js';

function known(json: ArrayJson): Known {
  const { shape, dtype } = json;
  if (dtype !== 'int32' && dtype !== 'int64') return { shape };
  const elements = Array.from(decodeArray(json) as ArrayLike<number | bigint>, Number);
  return isSmall(elements) ? { shape, elements } : { shape };
}

const folder = projectPath('test', 'fixtures', 'kernels');
const cases = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .flatMap((name) => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')) as CaseJson[]);

test('what a rule says of a case is what TensorFlow gave', (t) => {
  const told = new Set<string>();
  for (const json of cases) {
    const rule = Object.hasOwn(SHAPE_RULES, json.type) ? SHAPE_RULES[json.type] : undefined;
    const found = rule?.(operationOf(json), json.inputs.map(known));
    if (found === undefined) continue;
    told.add(json.type);
    const [output] = json.outputs;
    t.deepEqual([...found.shape], [...output!.shape], `${json.type}, ${json.name}`);
    if (found.elements !== undefined && !output!.dtype.startsWith('float'))
      t.deepEqual(found.elements, known(output!).elements, `${json.type}, ${json.name}`);
  }
  t.true(told.size > 80, `only ${told.size} types were told of`);
});

const shaped = (...shapes: (readonly number[])[]): Known[] => shapes.map((shape) => ({ shape }));

const MISFITS: readonly [type: string, inputs: Known[], ...parts: string[]][] = [
  ['Sub', shaped([3, 1], [2, 1]), '[3,1] and [2,1]'],
  ['AddN', shaped([3], [3], [2]), '[3] and [2]'],
  ['MatMul', shaped([3, 4], [5, 6]), '[3,4] and [5,6]'],
  ['BiasAdd', shaped([3, 4], [3]), 'a bias of [4]'],
  ['Conv2D', shaped([1, 8, 8, 3], [3, 3, 1, 8]), '[3,3,1,8]'],
  ['SparseSoftmaxCrossEntropyWithLogits', shaped([3, 10], [2]), '[3,10] and [2]'],
  ['SoftmaxCrossEntropyWithLogits', shaped([3, 10], [2, 10]), '[3,10] and [2,10]'],
  ['Reshape', [{ shape: [3, 5] }, { shape: [2], elements: [-1, 4] }], '15 elements'],
  ['ConcatV2', [...shaped([3, 2], [4, 5]), { shape: [], elements: [1] }], '[3,2] and [4,5]'],
  ['Pack', shaped([3], [2]), '[3] and [2]'],
  ['InTopKV2', shaped([3, 10], [2]), '3 targets'],
];

for (const [type, inputs, ...parts] of MISFITS) {
  test(`${type} tells what does not fit`, (t) => {
    const slides = type === 'Conv2D' ? { strides: ints(1, 1, 1, 1), dilations: ints(1, 1, 1, 1) } : {};
    throwsTyped(t, () => SHAPE_RULES[type]!(operation(type, slides), inputs), 'INVALID_ARGUMENT', ...parts);
  });
}

test('a shape that is told whole needs no input of a known one', (t) => {
  const reshape = (elements: readonly number[]): Known | undefined =>
    SHAPE_RULES['Reshape']!(operation('Reshape'), [undefined, { shape: [elements.length], elements }]);
  t.deepEqual(reshape([2, 3])?.shape, [2, 3]);
  t.is(reshape([2, -1]), undefined);
});

test('of inputs that are not known nothing is said', (t) => {
  for (const [type, rule] of Object.entries(SHAPE_RULES)) {
    const unknown = [undefined, undefined, undefined];
    t.is(rule(operation(type, { DstT: attr.type('int32') }), unknown), undefined, type);
  }
});

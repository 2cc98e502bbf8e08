import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { GradsyncError } from '../../src/errors.js';
import * as device from '../../src/graph/device.js';
import { fc } from '../helpers/properties.js';

/** Text and what TensorFlow 2.21 makes of it. */
const CANONICAL: readonly (readonly [string, string])[] = [
  ['', ''],
  ['/', ''],
  ['/cpu:0', '/device:CPU:0'],
  ['/gpu:1', '/device:GPU:1'],
  ['/CPU:0', '/device:CPU:0'],
  ['CPU:0', '/device:CPU:0'],
  ['/gpu', '/device:GPU:*'],
  ['/GPU:*', '/device:GPU:*'],
  ['/device:cpu:0', '/device:CPU:0'],
  ['/device:XPU:3', '/device:XPU:3'],
  ['/device:CPU:*', '/device:CPU:*'],
  ['/device:*:0', '/device:*:0'],
  ['/device:*:*', ''],
  ['/job:*', ''],
  ['/job:ps', '/job:ps'],
  ['/task:01', '/task:1'],
  ['/cpu:0/job:localhost', '/job:localhost/device:CPU:0'],
  ['/job:worker/replica:0/task:1/device:GPU:2', '/job:worker/replica:0/task:1/device:GPU:2'],
];

for (const [text, canonical] of CANONICAL) {
  test(`"${text}" is read as "${canonical}"`, (t) => {
    t.is(device.printDevice(device.parseDevice(text)), canonical);
  });
}

const BAD = [
  '/job:1a',
  '/xpu:0',
  '/task:x',
  '/device:',
  '/job',
  '/task:-1',
  'x',
  '/cpu:0:0',
  '/device:CPU:0/gpu:1',
];
for (const bad of BAD) {
  test(`"${bad}" is refused as a device`, (t) => {
    const error = t.throws(() => device.parseDevice(bad), { instanceOf: GradsyncError });
    t.is(error.code, 'INVALID_ARGUMENT');
    t.true(error.message.includes(JSON.stringify(bad)));
  });
}

const anyDevice: fc.Arbitrary<device.DeviceName> = fc.record(
  {
    job: fc.constantFrom('ps', 'worker', 'my_job'),
    replica: fc.nat({ max: 3 }),
    task: fc.nat({ max: 9 }),
    type: fc.constantFrom('CPU', 'GPU', 'XPU'),
    index: fc.nat({ max: 9 }),
  },
  { requiredKeys: [] },
);

test('a printed device is read back the same', (t) => {
  fc.assert(
    fc.property(anyDevice, (name) => t.deepEqual(device.parseDevice(device.printDevice(name)), name)),
  );
});

test('merging is symmetric where it is possible and an error where not', (t) => {
  fc.assert(
    fc.property(anyDevice, anyDevice, (a, b) => {
      const union = { ...a, ...b };
      if (isDeepStrictEqual(union, { ...b, ...a })) {
        t.deepEqual(device.mergeDevices(a, b), union);
        t.deepEqual(device.mergeDevices(b, a), union);
      } else {
        t.throws(() => device.mergeDevices(a, b), {
          instanceOf: GradsyncError,
          message: /expected the same/,
        });
      }
    }),
  );
});

test('an inner device scope wins over the outer one', (t) => {
  const outer = device.parseDevice('/job:ps/task:1/gpu:0');
  t.is(
    device.printDevice(device.overrideDevice(outer, device.parseDevice('/task:2'))),
    '/job:ps/task:2/device:GPU:0',
  );
});

test('a device is full when no part is free', (t) => {
  t.true(device.isFullDevice(device.parseDevice('/job:a/replica:0/task:0/cpu:0')));
  t.false(device.isFullDevice(device.parseDevice('/job:a/task:0/cpu:0')));
});

test('random text is a device or a typed error', (t) => {
  const text = fc.stringMatching(/^[/:*a-zA-Z0-9_-]{0,20}$/);
  fc.assert(
    fc.property(text, (name) => {
      try {
        device.parseDevice(name);
      } catch (error) {
        t.true(error instanceof GradsyncError);
      }
    }),
  );
  t.pass();
});

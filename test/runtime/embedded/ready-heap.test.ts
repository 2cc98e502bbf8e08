/** The heap gives numbers back smallest first, whatever pushes and pops came before. */
import test from 'ava';
import { ReadyHeap } from '../../../src/runtime/embedded/ready-heap.js';
import { fc } from '../../helpers/properties.js';

test('numbers come out in ascending order, between any pushes', (t) => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(50), { nil: undefined })), (script) => {
      const heap = new ReadyHeap();
      const model: number[] = [];
      for (const item of script) {
        if (item === undefined) {
          model.sort((a, b) => a - b);
          if (heap.pop() !== model.shift()) return false;
        } else {
          heap.push(item);
          model.push(item);
        }
      }
      return true;
    }),
  );
  t.pass();
});

/**
 * Tests that need TensorFlow: skipped, with the reason in the title, where no Python has it; failed instead where the environment
 * variable GRADSYNC_REQUIRE_TENSORFLOW is 1.
 */
import test, { type ExecutionContext } from 'ava';
import type { TensorflowSearch } from './python.js';

export * from './python.js';

/** How long a test that starts TensorFlow may take on the slowest machine. What hangs is ended sooner, by the deadline of its process. */
export const TENSORFLOW_TEST_MS = 3_600_000;

/**
 * Declares a test that needs TensorFlow; those of one file run one after the other, as each starts processes. Without it the test is skipped and the reason stands in its title.
 *
 * @example
 * ```ts
 * const tensorflow = findTensorflow();
 * tensorflowTest(tensorflow, 'the oracle is repeatable', async (t, python) => { ... });
 * ```
 */
export function tensorflowTest(
  search: TensorflowSearch,
  title: string,
  body: (t: ExecutionContext, python: string) => Promise<void>,
): void {
  if (search.found) {
    test.serial(title, (t) => {
      t.timeout(TENSORFLOW_TEST_MS);
      return body(t, search.python);
    });
  } else if (process.env['GRADSYNC_REQUIRE_TENSORFLOW'] === '1') {
    test(title, (t) => t.fail(search.reason));
  } else {
    test.skip(`${title} (skipped: ${search.reason})`, () => {});
  }
}

/** A program for the interrupt test: opens a session whose chief waits for a task that never comes, and says so. */
import { openEmbeddedSession } from '../../src/runtime/index.js';
import { handBuiltTasks, trainRequests } from './hand-built.js';

const session = await openEmbeddedSession({ tasks: handBuiltTasks(2), deadlineMs: Number.POSITIVE_INFINITY });
await session.initialize();
const run = session.runTask(0, trainRequests([[1, 1]])[0]!);
setTimeout(() => process.stdout.write('waiting\n'), 100);
await run;

/** Ways to look at what a session did. */
export { printChromeTrace } from './chrome-trace.js';
export { type StepTimes, summarizeSteps } from './step-times.js';

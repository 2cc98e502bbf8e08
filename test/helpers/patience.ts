/** How long tests wait. A deadline in a test is there against a hang: no machine that works meets it, however slow or busy. */

export const PATIENT_MS = 120_000;

/** For waits of the addon that a passing test sees ended. */
export const PATIENT = { deadlineMs: PATIENT_MS };

/** For a process that a test starts. */
export const PROCESS_MS = 300_000;

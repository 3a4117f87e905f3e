/**
 * Milliseconds: less than anybody waits for an upstream that says nothing (`limits.patience` is 5 s unless set), and more than
 * a machine that is busy needs for an answer.
 */
export const atOnceMs = 4500

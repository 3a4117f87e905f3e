/** Waits for something that is good to have but no reason to fail; a rejection goes to `onError` only. */
export async function bestEffort(work: Promise<unknown>, onError: (error: unknown) => void): Promise<void> {
  try {
    await work
  } catch (error) {
    onError(error)
  }
}

/** Holds as many bytes of memory as its parameter says, gives them back, and then tells so. */
let held: ArrayBuffer | undefined = new ArrayBuffer(Number(process.argv[2]))
new Uint8Array(held).fill(1)
// Freed at once, without waiting for a collection.
held.transfer(0)
held = undefined
process.send?.('done')
process.on('disconnect', () => process.exit())

/**
 * A log that nobody reads, or that cannot be written. Thought of: a reader that stops for a while, in the middle of
 * much; one that is slow at the end; one that has gone (EPIPE) or never comes back; a full disk, with half a line on
 * it; a stream that was destroyed; a line larger than all that may wait; lines lost while the line about lost ones is
 * on its way.
 */
import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { BoundedOutput } from '../../src/logging/bounded-output.ts'

/** A stream that takes what is written when the test says so. */
class Gate extends Writable {
  text = ''
  isOpen = true
  #waiting: (() => void) | undefined

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    const take = () => {
      this.text += chunk.toString()
      callback()
    }
    if (this.isOpen) take()
    else this.#waiting = take
  }

  open(): void {
    this.isOpen = true
    this.#waiting?.()
  }
}

function output(gate: Gate, options: { maxBytes?: number; patienceMs?: number } = {}): BoundedOutput {
  return new BoundedOutput(gate, { maxBytes: 100, lost: (lines) => `lost ${lines}\n`, ...options })
}

function flushed(out: BoundedOutput): Promise<void> {
  return new Promise((resolve) => out.flush(resolve))
}

test('what does not fit is dropped and counted, and told once everything before it is written', async () => {
  const gate = new Gate()
  const out = output(gate)
  gate.isOpen = false
  for (let line = 0; line < 50; line += 1) out.write(`line ${line}\n`)
  assert.ok(gate.writableLength <= 100, String(gate.writableLength))
  gate.open()
  await flushed(out)
  out.write('after\n')
  const kept = Array.from({ length: 13 }, (_, line) => `line ${line}\n`).join('')
  assert.equal(gate.text, `${kept}lost 37\nafter\n`)
})

test('lines that are lost while the line about lost ones is on its way are told as well', async () => {
  const gate = new Gate({ highWaterMark: 1 })
  const out = output(gate)
  gate.isOpen = false
  for (let line = 0; line < 20; line += 1) out.write('123456789\n')
  gate._write = new Proxy(gate._write, {
    apply(write, self, parameters: Parameters<Gate['_write']>) {
      if (parameters[0].toString() === 'lost 10\n')
        for (let line = 0; line < 5; line += 1) out.write('late\n')
      Reflect.apply(write, self, parameters)
    },
  })
  gate.open()
  await flushed(out)
  assert.equal(gate.text, `${'123456789\n'.repeat(10)}lost 10\nlost 5\n`)
})

test('what cannot be written: each line tries again, and the first that succeeds says what is missing', async () => {
  let text = ''
  let error: Error | undefined
  const out = new BoundedOutput(
    {
      // As stdout does that is a file: it is written at once, and told later.
      write(line, callback) {
        if (!error) text += line
        process.nextTick(callback, error)
      },
    },
    { lost: (lines) => `lost ${lines}\n` },
  )
  out.write('one\n')
  error = new Error('full')
  for (let line = 0; line < 3; line += 1) {
    out.write('never\n')
    await setImmediate()
  }
  // In one turn: the second comes before it is known what became of the first.
  out.write('never\n')
  out.write('never\n')
  await flushed(out)
  error = undefined
  out.write('two\n')
  await flushed(out)
  out.write('three\n')
  assert.equal(text, 'one\n\nlost 5\ntwo\nthree\n')
})

test('a line larger than all that may wait is lost, and the next one is not', async () => {
  const gate = new Gate()
  const out = output(gate)
  out.write(`${'x'.repeat(200)}\n`)
  out.write('next\n')
  await flushed(out)
  assert.equal(gate.text, 'lost 1\nnext\n')
})

test('a stream that is destroyed ends nothing, and nothing waits for it', async () => {
  const gate = new Gate()
  const out = output(gate)
  gate.destroy()
  for (let line = 0; line < 100; line += 1) out.write('line\n')
  await flushed(out)
  out.write('line\n')
  await flushed(out)
  assert.equal(gate.text, '')
})

test('a flush waits for what is on its way, but not for ever', async () => {
  const gate = new Gate()
  const out = output(gate, { patienceMs: 20 })
  await flushed(out)
  gate.isOpen = false
  out.write('line\n')
  await flushed(out)
  assert.equal(gate.text, '')
  const patient = output(gate, { patienceMs: 60_000 })
  patient.write('more\n')
  const end = flushed(patient)
  gate.open()
  await end
  assert.equal(gate.text, 'line\nmore\n')
})

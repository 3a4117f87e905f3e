import { styleText } from 'node:util'
import { showMegabytes } from '../support/units.ts'
import type { PullProgress } from './pull.ts'

/** One look at a round. */
interface Scene {
  readonly title: string
  readonly progresses: readonly PullProgress[]
  /** Bytes that each client is to get. */
  readonly total: number
  /** Bytes over the line in this round so far. */
  readonly lineBytes: number
}

/** Shows how far a round is. */
export interface Display {
  begin(title: string): void
  show(scene: Scene): void
  end(): void
}

type Output = Pick<NodeJS.WriteStream, 'write' | 'isTTY'>

const barWidth = 30
const step = 10

/** A block that is rewritten on a terminal, one line for each 10 % elsewhere. */
export function createDisplay(output: Output, environment: NodeJS.ProcessEnv): Display {
  return output.isTTY && environment.TERM !== 'dumb'
    ? new BlockDisplay(output, !environment.NO_COLOR)
    : new LineDisplay(output)
}

class BlockDisplay implements Display {
  readonly #output: Output
  readonly #isColored: boolean
  #height = 0

  constructor(output: Output, isColored: boolean) {
    this.#output = output
    this.#isColored = isColored
  }

  begin(title: string): void {
    this.#height = 0
    this.#output.write(`\n${this.#paint('bold', title)}\n`)
  }

  show({ progresses, total, lineBytes }: Scene): void {
    const rows = progresses.map((progress, index) => this.#row(progress, index, total))
    const served = progresses.reduce((sum, { bytes }) => sum + bytes, 0)
    rows.push(`  over the line ${showMegabytes(lineBytes)}, to the clients ${showMegabytes(served)}`)
    const up = this.#height > 0 ? `\u001b[${this.#height}A` : ''
    this.#output.write(`${up}${rows.map((row) => `\u001b[2K${row}\n`).join('')}`)
    this.#height = rows.length
  }

  end(): void {
    this.#height = 0
  }

  #row({ bytes, totalMs }: PullProgress, index: number, total: number): string {
    const filled = Math.floor((bytes / total) * barWidth)
    const bar = `${this.#paint(totalMs === undefined ? 'cyan' : 'green', '█'.repeat(filled))}${'░'.repeat(barWidth - filled)}`
    const state = totalMs === undefined ? '' : `  ${(totalMs / 1000).toFixed(1)} s`
    return `  client ${String(index + 1).padStart(2)} ${bar} ${showMegabytes(bytes).padStart(7)}${state}`
  }

  #paint(style: 'bold' | 'cyan' | 'green', text: string): string {
    // Decided by whoever made this, not by what styleText thinks of stdout.
    return this.#isColored ? styleText(style, text, { validateStream: false }) : text
  }
}

class LineDisplay implements Display {
  readonly #output: Output
  #shown = 0

  constructor(output: Output) {
    this.#output = output
  }

  begin(title: string): void {
    this.#shown = 0
    this.#output.write(`\n${title}\n`)
  }

  show({ progresses, total, lineBytes }: Scene): void {
    const served = progresses.reduce((sum, { bytes }) => sum + bytes, 0)
    const percent = Math.floor((served / (total * progresses.length)) * 100)
    if (percent < this.#shown + step) return
    this.#shown = percent - (percent % step)
    const share = `${String(this.#shown).padStart(3)} %`
    this.#output.write(
      `  ${share}  over the line ${showMegabytes(lineBytes)}, to the clients ${showMegabytes(served)}\n`,
    )
  }

  end(): void {}
}

import { showSeconds, showSize } from '../support/units.ts'
import { isCapable, type Paint } from './paint.ts'
import type { PullProgress } from './pull.ts'

/** One look at the lanes. */
export interface View {
  readonly lanes: readonly LaneView[]
  /** Bytes that each machine is to get. */
  readonly total: number
  /** What has just happened; empty for nothing. */
  readonly note: string
}

interface LaneView {
  readonly name: string
  readonly progresses: readonly PullProgress[]
  /** Bytes over the line in this scene so far. */
  readonly lineBytes: number
}

/** Shows how far the machines are, lanes side by side. */
export interface Display {
  /** The next view belongs to a new scene. */
  begin(): void
  show(view: View): void
}

type Output = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns' | 'rows'>

/** Columns, below which two lanes have no room. */
const narrowest = 72
const labelWidth = 13
/** Of a lane beside its bar. */
const figuresWidth = 19
const longestBar = 24
/** Rows that a scene has beside its machines, and the lines above it that should stay. */
const otherRows = 8
/** Percent between the lines where nothing is rewritten. */
const step = 10

/** A block that is rewritten on a terminal; one line for each 10 % elsewhere, and where the terminal is too narrow. */
export function createDisplay(output: Output, environment: NodeJS.ProcessEnv, paint: Paint): Display {
  return isCapable(output, environment) && (output.columns ?? 80) >= narrowest
    ? new BlockDisplay(output, paint)
    : new LineDisplay(output)
}

class BlockDisplay implements Display {
  readonly #output: Output
  readonly #paint: Paint
  #height = 0

  constructor(output: Output, paint: Paint) {
    this.#output = output
    this.#paint = paint
  }

  begin(): void {
    this.#height = 0
  }

  show(view: View): void {
    const rows = this.#rows(view)
    const up = this.#height > 0 ? `\u001b[${this.#height}A` : ''
    this.#output.write(`${up}${rows.map((row) => `\u001b[2K${row}\n`).join('')}`)
    this.#height = rows.length
  }

  #rows({ lanes, total, note }: View): string[] {
    const { columns = 80, rows = 24 } = this.#output
    const room = Math.floor((columns - labelWidth) / lanes.length) - figuresWidth
    const barWidth = Math.min(longestBar, room)
    const laneWidth = barWidth + figuresWidth
    const line = (label: string, cells: readonly string[]) =>
      `  ${label.padEnd(labelWidth - 2)}${cells.join('')}`.trimEnd()
    const machines = lanes[0]?.progresses.length ?? 0
    const shown = Math.max(1, Math.min(machines, rows - otherRows))
    const cells = (index: number) =>
      lanes.map(({ progresses }) => this.#cell(progresses[index], total, barWidth))
    return [
      line(
        '',
        lanes.map(({ name }) => this.#paint('bold', name.padEnd(laneWidth))),
      ),
      ...Array.from({ length: shown }, (_, index) => line(`machine ${index + 1}`, cells(index))),
      ...(shown < machines ? [line(`and ${machines - shown} more`, [])] : []),
      line(
        'the line',
        lanes.map(({ lineBytes }) => showSize(lineBytes).padEnd(laneWidth)),
      ),
      `  ${this.#paint('yellow', note)}`.trimEnd(),
    ]
  }

  #cell(progress: PullProgress | undefined, total: number, barWidth: number): string {
    const { bytes = 0, totalMs } = progress ?? {}
    const filled = Math.floor((bytes / total) * barWidth)
    const bar = this.#paint(totalMs === undefined ? 'cyan' : 'green', '█'.repeat(filled))
    const figures = `${showSize(bytes).padStart(7)} ${totalMs === undefined ? '' : showSeconds(totalMs)}`
    return `${bar}${'░'.repeat(barWidth - filled)}${figures.padEnd(figuresWidth)}`
  }
}

class LineDisplay implements Display {
  readonly #output: Output
  #shown = 0
  #note = ''

  constructor(output: Output) {
    this.#output = output
  }

  begin(): void {
    this.#shown = 0
    this.#note = ''
  }

  show({ lanes, total, note }: View): void {
    if (note !== this.#note && note !== '') this.#output.write(`  ${note}\n`)
    this.#note = note
    const wanted = total * lanes.reduce((sum, { progresses }) => sum + progresses.length, 0)
    const percent = Math.floor((lanes.reduce((sum, lane) => sum + servedBy(lane), 0) / wanted) * 100)
    if (percent < this.#shown + step) return
    this.#shown = percent - (percent % step)
    const parts = lanes.map((lane) => {
      const each = showSize(servedBy(lane) / lane.progresses.length)
      return `${lane.name}: ${each} each, ${showSize(lane.lineBytes)} over the line`
    })
    this.#output.write(`  ${String(this.#shown).padStart(3)} %  ${parts.join('; ')}\n`)
  }
}

function servedBy({ progresses }: LaneView): number {
  return progresses.reduce((sum, { bytes }) => sum + bytes, 0)
}

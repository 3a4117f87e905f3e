/** The look-alike of Docker Hub behind its line, as a process of its own; see `HubProcess`. */
import { type DockerHub, startDockerHub } from '../../test/support/docker-hub.ts'
import { buildImage, generatedBlob, type TestBlob } from '../../test/support/images.ts'
import { type SlowLine, startSlowLine } from '../../test/support/slow-line.ts'
import { selfSigned } from '../../test/upstream/fixtures.ts'
import type { BlobSummary, HubAnswer, HubCall, HubControl } from './hub-control.ts'
import { LineTrace } from './line-trace.ts'
import { tlsFrontOver } from './tls-front.ts'

const pullQuota = 1_000_000

let line: SlowLine | undefined
let running: DockerHub | undefined
let trace: LineTrace | undefined

const control: HubControl = {
  async start({ bytesPerSecond, connectionBytesPerSecond, roundTripMs = 0, isTls, isTraced, ...connection }) {
    trace = isTraced ? new LineTrace(roundTripMs) : undefined
    if (bytesPerSecond !== undefined) {
      line = await startSlowLine({
        rateBytesPerSecond: bytesPerSecond,
        delayMs: roundTripMs / 2,
        ...(connectionBytesPerSecond !== undefined && {
          connectionRateBytesPerSecond: connectionBytesPerSecond,
        }),
        ...(trace && { observer: trace }),
        ...connection,
      })
    }
    const tls = isTls ? await selfSigned('IP:127.0.0.1') : undefined
    const way = tls ? { front: tlsFrontOver(line, tls, trace) } : { ...(line && { line }) }
    running = await startDockerHub({ quota: pullQuota, ...way })
    return { url: running.url, ca: tls?.cert }
  },
  async addImage({ repository, tag, layerSizes, seed }) {
    const layers = await Promise.all(
      layerSizes.map((size, index) => generatedBlob({ size, seed: `${seed}/${index}` })),
    )
    const image = buildImage({ seed, layers })
    hub().addImage(repository, tag, image)
    return {
      repository,
      tag,
      manifest: summaryOf(image.manifest),
      config: summaryOf(image.config),
      layers: layers.map(summaryOf),
    }
  },
  async traffic() {
    const pulls = hub().count({ listener: 'registry', method: 'GET', path: /\/manifests\//, status: 200 })
    return { bytes: line?.bytes.down ?? hub().bytesSent(), pulls, connections: line?.opened ?? 0 }
  },
  async trace() {
    if (!trace) throw new Error('the line is not traced')
    return trace.read()
  },
  async fault(matcher, fault, times) {
    hub().fault(matcher, fault, times === undefined ? {} : { times })
  },
  async clearFaults() {
    hub().clearFaults()
  },
  async cutLine() {
    await slowLine().refuse()
    slowLine().cutAll()
  },
  async mendLine() {
    await slowLine().accept()
    slowLine().resume()
  },
  async silenceLine() {
    slowLine().pause()
  },
}

process.on('message', async (call: HubCall) => process.send?.(await answer(call)))
// Whoever started it is gone, or has closed the channel.
process.on('disconnect', () => process.exit())
// A signal to the whole group is the parent's business, which still wants to count.
process.on('SIGINT', () => {})

async function answer({ id, method, parameters }: HubCall): Promise<HubAnswer> {
  try {
    const called = control[method] as (...all: readonly unknown[]) => Promise<unknown>
    return { id, result: await called(...parameters) }
  } catch (error) {
    return { id, failure: String(error) }
  }
}

function slowLine(): SlowLine {
  if (!line) throw new Error('the look-alike has no line')
  return line
}

function hub(): DockerHub {
  if (!running) throw new Error('the look-alike has not been started')
  return running
}

function summaryOf({ digest, size }: TestBlob): BlobSummary {
  return { digest, size }
}

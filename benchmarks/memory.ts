import type { Benchmark } from './support/benchmark.ts'
import { larder } from './support/contenders.ts'
import { load } from './support/load.ts'
import { blobUrl, layerOf, setStage } from './support/pulls.ts'
import { megabyte, showMegabytes, showMultiple } from './support/units.ts'

const clients = 100
const boundBytes = 200 * megabyte
/** One client in so many compares the digest, all the size: a hash of everything would measure the client. */
const hashEvery = 10

/** The most memory that the server holds while many clients follow one large download. */
export const memory: Benchmark = {
  name: 'memory',
  title: 'Memory: many clients on one cold, large blob',
  async run({ isQuick, tell, signal }) {
    const size = isQuick ? 50 * megabyte : 1000 * megabyte
    tell(`${clients} clients, ${size / megabyte} MB: ${larder.name}`)
    await using stage = await setStage(larder, { layerSizes: [size] })
    const { hub, mirror, image } = stage
    const blob = layerOf(image)
    const atRest = await mirror.peakMemory()
    const before = { traffic: await hub.traffic(), cpu: await mirror.cpuSeconds() }
    const request = {
      url: blobUrl(mirror, image, blob),
      connections: clients,
      hashEvery,
      digest: blob.digest,
    }
    const result = await load(request, signal)
    const { bytes } = await hub.traffic()
    const cpuSeconds = (await mirror.cpuSeconds()) - before.cpu
    const peak = await mirror.peakMemory()
    if (result.failures > 0 || result.bytes !== clients * size) {
      throw new Error(`${result.failures} of ${clients} clients did not get the blob`)
    }
    const judged = peak < boundBytes || isQuick ? '' : ': EXCEEDED'
    const rows = [
      ['peak memory (VmHWM)', showMegabytes(peak), `< ${showMegabytes(boundBytes)}${judged}`],
      ['before the first client', showMegabytes(atRest), ''],
      ['upstream bytes / blob', showMultiple((bytes - before.traffic.bytes) / size), '1.00x'],
      ['all clients have it after', `${result.seconds.toFixed(1)} s`, ''],
      ['served', `${(result.bytes / 1e9 / result.seconds).toFixed(2)} GB/s`, ''],
      ['processor time of the server', `${(cpuSeconds / (result.bytes / 1e9)).toFixed(2)} s/GB`, ''],
    ]
    return {
      head: ['measured', 'Larder', 'bound'],
      rows,
      notes: [
        `${clients} clients, ${size / megabyte} MB, no line between; one run.`,
        'docker-registry is left out: it would fetch the blob 101 times.',
      ],
    }
  },
}

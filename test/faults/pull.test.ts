import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ErrorName, Operation } from '../support/faulty-calls.ts'
import {
  breakDisk,
  type Fault,
  faultsOf,
  nameOf,
  operationsOf,
  problemsOfFolder,
  problemsOfPulls,
  pullImage,
  quiet,
  repositoryName,
  type Setting,
  startSetting,
} from './setting.ts'

const errors: Partial<Record<Operation, readonly [ErrorName, ...ErrorName[]]>> = {
  open: ['EIO', 'EMFILE'],
  create: ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EMFILE'],
  write: ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'],
  sync: ['EIO', 'ENOSPC', 'EDQUOT'],
  rename: ['ENOSPC', 'EIO', 'EROFS'],
  mkdir: ['ENOSPC', 'EROFS'],
  unlink: ['EIO', 'EROFS'],
  stat: ['EIO'],
  space: ['EIO'],
  list: ['EIO'],
}

test('a pull by two clients, and the n-th operation on the disk fails: both get all bytes, and no wrong one', async (t) => {
  await using setting = await startSetting(t)
  const counts = await operationsOf(setting, () => pullTwice(setting))
  t.diagnostic(`operations of a pull: ${JSON.stringify(counts)}`)
  const problems: string[] = []
  let cases = 0
  let struck = 0
  for (const fault of faultsOf(counts, errors)) {
    cases += 1
    const found = await problemsOf(setting, fault)
    if (setting.disk.failed > 0) struck += 1
    problems.push(...found.map((problem) => `${nameOf(fault)}: ${problem}`))
  }
  t.diagnostic(`${cases} faults, ${struck} of which struck`)
  assert.deepEqual(problems, [])
  assert.ok(struck > cases * 0.8)
})

async function pullTwice({ hub, mirror, newImage }: Setting) {
  const image = newImage()
  hub.addImage(repositoryName, undefined, image)
  const base = `${mirror.url}/v2/${repositoryName}`
  return { image, base, pulls: (await Promise.all([pullImage(base, image), pullImage(base, image)])).flat() }
}

async function problemsOf(setting: Setting, fault: Fault): Promise<string[]> {
  const { disk } = setting
  breakDisk(disk, fault)
  const { pulls, base, image } = await pullTwice(setting)
  const wasStruck = disk.failed > 0
  disk.heal()
  // Where a failed sync takes bytes of the file with it, who reads it may be cut: never told that it was whole.
  const mayBeCut = fault.operation === 'sync'
  const problems = problemsOfPulls(pulls.filter(({ pulled }) => pulled.isComplete || !mayBeCut))
  problems.push(...(await quiet(setting)))
  if (!wasStruck) return problems
  problems.push(...problemsOfPulls(await pullImage(base, image)).map((one) => `once it is well: ${one}`))
  problems.push(...(await quiet(setting)))
  // What cannot be unlinked stays, and is no problem but for whoever looks.
  const left = problemsOfFolder(setting)
  if (fault.operation !== 'unlink') problems.push(...left)
  return problems
}

// Makes the roots of Debian's newer releases that "npm run test:clients" starts clients of. A minute and 700 MB each,
// once; a release that cannot be had is told, and its tests are skipped with a reason.
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { run } from '../../support/child-process.ts'
import { debianSuites, suitePackages, suiteRoot } from './debian-suite.ts'

/** As whoever runs this has it: proxies of the house are set there. */
const environment = process.env as Readonly<Record<string, string>>

for (const suite of debianSuites) {
  const root = suiteRoot(suite)
  if (existsSync(root)) continue
  console.log(`debootstrap ${suite}`)
  await mkdir(dirname(root), { recursive: true })
  const building = await mkdtemp(`${root}-`)
  try {
    // The script of sid does for every release: this machine's debootstrap does not know those after its own.
    const release = [suite, building, 'http://deb.debian.org/debian', '/usr/share/debootstrap/scripts/sid']
    const options = ['--variant=minbase', `--include=${suitePackages.join(',')}`]
    // What it mounts ends with it, so that nothing of this machine lies below a folder that is removed.
    const by = [['unshare', '--mount']] as const
    await run('debootstrap', [...options, ...release], { environment, by, timeoutMs: 3_600_000 })
    await rename(building, root)
  } catch (error) {
    console.error(error)
    process.exitCode = 1
  } finally {
    await rm(building, { recursive: true, force: true })
  }
}

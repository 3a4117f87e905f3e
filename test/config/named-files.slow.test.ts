/**
 * Files that a configuration names. Neighbours, for authorities, certificates, keys and passwords: missing, a folder,
 * in a path through a file, empty, blank, without permission, a circle of links, a device without an end, too large; no PEM, DER, the
 * wrong kind of PEM, damaged, cut off; a bundle with one damaged part; expired, and not valid yet; key
 * and certificate swapped, of another pair, the chain in the wrong order, both in one file, an encrypted key (two
 * forms), a key that is too short; Windows line ends and text around; relative paths, and those that begin with "~"; named by a variable, by
 * `_FILE`, by an upstream of a list in a variable; beside other mistakes.
 */
import assert from 'node:assert/strict'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problems.ts'
import { finish, run } from '../support/child-process.ts'
import { meets } from '../support/programs.ts'
import { selfSigned } from '../upstream/fixtures.ts'
import { configFolder } from './config-folder.ts'

const tls = 'server: {tls: {certificate: c.pem, key: k.pem}}'
const ca = 'upstreams: [{name: ghcr.io, ca: ca.pem}]'

/** Every problem as `severity message`, without the folder's name. */
async function said(folder: string, environment: NodeJS.ProcessEnv = {}): Promise<string[]> {
  const problems = await loadConfig({ environment, workingDirectory: folder }).then(
    ({ warnings }) => warnings,
    (error: unknown) => {
      assert.ok(error instanceof ConfigError, String(error))
      return error.problems
    },
  )
  return problems.map(({ severity, message }) => `${severity} ${message.replaceAll(`${folder}/`, '')}`)
}

async function folderWith(t: TestContext, config: string, files: Readonly<Record<string, string>> = {}) {
  const folder = await configFolder(t, { 'mirror.yml': `${config}\n`, ...files })
  return { folder, write: (name: string, content: string | Buffer) => writeFile(join(folder, name), content) }
}

test('a good pair and good authorities: nothing is said', async (t) => {
  const { cert, key } = await selfSigned('DNS:localhost')
  const { folder, write } = await folderWith(t, `${tls}\n${ca}`, {
    'c.pem': cert,
    'k.pem': key,
    'ca.pem': cert,
  })
  assert.deepEqual(await said(folder), [])
  await write('ca.pem', `# our own\r\n${cert.replaceAll('\n', '\r\n')}\r\n# and again\r\n${cert}`)
  await write('c.pem', key + cert)
  await write('k.pem', key + cert)
  assert.deepEqual(await said(folder), [])
})

test('files that cannot be read: all of them, each with its place and why', async (t) => {
  const text = `${tls}\nupstreams:\n  - {name: ghcr.io, ca: ca.pem, username: ann, passwordFile: pw}\nlog: {level: loud}`
  const { folder } = await folderWith(t, text)
  const expected = (why: string) => [
    `error server.tls.certificate: cannot read c.pem: ${why}`,
    `error server.tls.key: cannot read k.pem: ${why}`,
    `error upstreams.0.ca: cannot read ca.pem: ${why}`,
    `error upstreams.0.passwordFile: cannot read pw: ${why}`,
    'error log.level: expected one of error, warn, info, debug, trace; got "loud"',
  ]
  const names = ['c.pem', 'k.pem', 'ca.pem', 'pw']
  assert.deepEqual(await said(folder), expected('no such file'))
  for (const name of names) await symlink(name, join(folder, name))
  assert.deepEqual(await said(folder), expected('too many symbolic links'))
  const inFile = await folderWith(t, text.replaceAll(/(?<=[ ])(c|k|ca)\.pem|pw(?=\})/g, 'file/$&'), {
    file: '',
  })
  assert.deepEqual(
    await said(inFile.folder),
    expected('no such file').map((line) => line.replace(/read (?=\w)/, 'read file/')),
  )
  const folders = await folderWith(t, text)
  for (const name of names) await mkdir(join(folders.folder, name))
  assert.deepEqual(await said(folders.folder), expected('this is a folder, not a file'))
})

test('a file without permission is told by serve, with exit code 3', async (t) => {
  if (!meets(t, { programs: ['setpriv'], root: true })) return
  const { cert } = await selfSigned('DNS:localhost')
  const { folder } = await folderWith(t, ca, { 'ca.pem': cert })
  await chmod(join(folder, 'ca.pem'), 0)
  const main = join(import.meta.dirname, '../../src/main.ts')
  for (const command of [
    ['config', 'check'],
    ['serve', '--listen', '127.0.0.1:0'],
  ]) {
    const by = [['setpriv', '--bounding-set=-dac_override,-dac_read_search']] as const
    const { code, stdout, stderr } = await finish('node', [main, ...command], {
      by,
      workingDirectory: folder,
    })
    assert.match(
      stdout + stderr,
      /mirror\.yml:1:\d+ +error +upstreams\.0\.ca: cannot read .+: permission denied/,
    )
    assert.equal(code, 3)
  }
})

test('serve says the same as config check, and exits with 3', async (t) => {
  const { folder } = await folderWith(t, `${tls}\n${ca}`, { 'c.pem': 'x', 'ca.pem': '' })
  const main = join(import.meta.dirname, '../../src/main.ts')
  const serve = ['serve', '--listen', '127.0.0.1:0', '--data', join(folder, 'data')]
  const checked = await finish('node', [main, 'config', 'check'], { workingDirectory: folder })
  const served = await finish('node', [main, ...serve], { workingDirectory: folder })
  assert.deepEqual([checked.code, served.code], [3, 3])
  assert.equal(served.stdout, '')
  assert.equal(`${served.stderr}3 errors\n`, checked.stdout)
})

test('authorities that are none: empty, no PEM, another kind, damaged, in DER, without end', async (t) => {
  const { cert, key } = await selfSigned('DNS:localhost')
  const { folder, write } = await folderWith(t, ca)
  const lines = cert.split('\n')
  const der = Buffer.from(lines.slice(1, -2).join(''), 'base64')
  const damaged = cert.replace(lines[3] ?? '', (lines[3] ?? '').replaceAll(/[a-z]/g, 'A'))
  const contents: [string | Buffer, string][] = [
    ['', 'ca.pem is empty'],
    [' \n\n', 'ca.pem is empty'],
    ['hello', 'ca.pem holds no certificate in PEM (-----BEGIN CERTIFICATE-----)'],
    [Buffer.alloc(4096), 'ca.pem holds no certificate in PEM (-----BEGIN CERTIFICATE-----)'],
    [key, 'ca.pem holds a private key, and no certificate'],
    [der, 'ca.pem is in DER: turn it into PEM (openssl x509 -inform der -in ca.pem)'],
    [cert.slice(0, 300), 'the certificate in ca.pem is cut off'],
    [damaged, 'the certificate in ca.pem is damaged'],
    [cert + damaged + cert, 'certificate 2 of 3 in ca.pem is damaged'],
  ]
  for (const [content, message] of contents) {
    await write('ca.pem', content)
    assert.deepEqual(await said(folder), [`error upstreams.0.ca: ${message}`])
  }
  const device = await folderWith(t, ca.replace('ca.pem', '/dev/zero'))
  assert.deepEqual(await said(device.folder), [
    'error upstreams.0.ca: cannot read /dev/zero: this is no regular file',
  ])
  await write('ca.pem', Buffer.alloc(17 * 1024 * 1024))
  assert.deepEqual(await said(folder), ['error upstreams.0.ca: cannot read ca.pem: larger than 16 MiB'])
})

test('certificates out of their time are a warning: the clock may be what is wrong', async (t) => {
  const { cert, key } = await selfSigned('DNS:localhost')
  const files = { 'c.pem': cert, 'k.pem': key, 'ca.pem': cert }
  const { folder } = await folderWith(t, `${tls}\n${ca}`, files)
  const dayMs = 86_400_000
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 30 * dayMs })
  const [server, authority] = await said(folder)
  assert.match(
    server ?? '',
    /^warning server\.tls\.certificate: c\.pem expired on 20\d\d-\d\d-\d\d: clients will/,
  )
  assert.match(
    authority ?? '',
    /^warning upstreams\.0\.ca: what ca\.pem holds expired on 20\d\d-\d\d-\d\d: no/,
  )
  t.mock.timers.setTime(Date.now() - 60 * dayMs)
  const early = await said(folder)
  assert.match(
    early[0] ?? '',
    /^warning server\.tls\.certificate: c\.pem is valid from 20\S+ only: is the clock/,
  )
  assert.equal(early.length, 1)
})

test('a key that is none, or of another certificate', async (t) => {
  if (!meets(t, { programs: ['openssl'] })) return
  const [own, other] = [await selfSigned('DNS:localhost'), await selfSigned('DNS:localhost')]
  const { folder, write } = await folderWith(t, tls, { 'c.pem': own.cert, 'plain.pem': own.key })
  const openssl = (...parameters: string[]) => run('openssl', parameters, { workingDirectory: folder })
  const secret = ['-passout', 'pass:secret']
  const contents: [string | Buffer, RegExp][] = [
    ['', /k\.pem is empty$/],
    ['hello', /k\.pem holds no private key in PEM/],
    [own.cert, /k\.pem holds a certificate, and no private key$/],
    [await openssl('pkey', '-in', 'plain.pem', '-pubout'), /k\.pem holds a public key, and no private one$/],
    [
      await openssl('pkcs8', '-topk8', '-in', 'plain.pem', ...secret),
      /k\.pem is encrypted, and nobody is asked/,
    ],
    [
      await openssl('ec', '-aes128', '-in', 'plain.pem', ...secret),
      /k\.pem is encrypted, and nobody is asked/,
    ],
    [
      own.key.replace(/(KEY-----\n).{20}/, '$1AAAAAAAAAAAAAAAAAAAA'),
      /the private key in k\.pem cannot be read: /,
    ],
    [other.key, /k\.pem is the key of another certificate than c\.pem$/],
  ]
  for (const [content, message] of contents) {
    await write('k.pem', content)
    const [problem, ...more] = await said(folder)
    assert.match(problem ?? '', message)
    assert.match(problem ?? '', /^error server\.tls\.key: /)
    assert.deepEqual(more, [])
  }
  await openssl('pkey', '-in', 'plain.pem', '-outform', 'der', '-out', 'k.pem')
  assert.match((await said(folder))[0] ?? '', /k\.pem is in DER: turn it into PEM \(openssl pkey/)
  await write('k.pem', own.key)
  await write('c.pem', other.cert + own.cert)
  assert.match((await said(folder))[0] ?? '', /the certificate of k\.pem has to come first in c\.pem/)
  await write('c.pem', own.key)
  await write('k.pem', own.cert)
  assert.deepEqual(await said(folder), [
    'error server.tls.certificate: c.pem holds a private key, and no certificate',
    'error server.tls.key: k.pem holds a certificate, and no private key',
  ])
})

test('a key that TLS refuses is told before the start', async (t) => {
  if (!meets(t, { programs: ['openssl'] })) return
  const { folder } = await folderWith(t, 'server: {tls: {certificate: weak.crt, key: weak.key}}')
  const request = ['req', '-x509', '-nodes', '-newkey', 'rsa:512', '-subj', '/CN=test', '-days', '3']
  await run('openssl', [...request, '-keyout', 'weak.key', '-out', 'weak.crt'], { workingDirectory: folder })
  assert.match(
    (await said(folder))[0] ?? '',
    /^error server\.tls\.key: weak\.crt and weak\.key are refused for TLS: .*small/,
  )
})

test('files that variables name, and their `_FILE` forms', async (t) => {
  const { folder } = await folderWith(t, 'log: {}', { empty: '\n', secret: 'pw', level: 'warn\n' })
  const upstreams = '[{name: ghcr.io, ca: none.pem}]'
  assert.deepEqual(
    await said(folder, {
      MIRROR_UPSTREAMS: upstreams,
      MIRROR_SERVER_TLS_KEY: 'k',
      MIRROR_SERVER_TLS_CERTIFICATE: 'c',
    }),
    [
      'error MIRROR_SERVER_TLS_CERTIFICATE: cannot read c: no such file',
      'error MIRROR_SERVER_TLS_KEY: cannot read k: no such file',
      'error MIRROR_UPSTREAMS: upstreams.0.ca: cannot read none.pem: no such file',
    ],
  )
  assert.deepEqual(await said(folder, { MIRROR_LOG_LEVEL_FILE: 'level' }), [])
  const broken: [string, string][] = [
    ['none', 'cannot read none: no such file'],
    ['.', 'cannot read .: this is a folder, not a file'],
    ['empty', 'empty is empty'],
  ]
  for (const [name, message] of broken) {
    assert.deepEqual(await said(folder, { MIRROR_LOG_LEVEL_FILE: name }), [
      `error MIRROR_LOG_LEVEL_FILE: ${message}`,
    ])
  }
})

test('a "~" that no shell has replaced makes no folder of that name', async (t) => {
  const { folder } = await folderWith(t, 'storage: {dir: ~/larder}\nupstreams: [{name: a.io, ca: ~/ca.pem}]')
  assert.deepEqual(await said(folder), [
    'error storage.dir: expected the path of a folder, in full: nobody replaces the "~" of "~/larder"',
    'error upstreams.0.ca: expected the path of a file, in full: nobody replaces the "~" of "~/ca.pem"',
  ])
  const { folder: empty } = await folderWith(t, 'log: {}')
  assert.match(
    (await said(empty, { MIRROR_STORAGE_DIR: '~/larder' }))[0] ?? '',
    /MIRROR_STORAGE_DIR: .*in full/,
  )
  const { config } = await loadConfig({
    environment: { MIRROR_STORAGE_DIR: '~larder' },
    workingDirectory: empty,
  })
  assert.equal(config.storage.dir, join(empty, '~larder'))
})

test('a blank path is refused, and is not the folder that it is started in', async (t) => {
  const { folder } = await folderWith(
    t,
    'server: {tls: {certificate: " ", key: ""}}\nupstreams: [{name: a.io, ca: " "}]',
  )
  assert.deepEqual(await said(folder), [
    'error server.tls.certificate: expected the path of a PEM file; got " "',
    'error server.tls.key: expected the path of a PEM file; got ""',
    'error upstreams.0.ca: expected the path of a file; got " "',
  ])
  const upstreams = '[{name: a.io, ca: ""}]'
  const { folder: empty } = await folderWith(t, 'log: {}')
  assert.deepEqual(await said(empty, { MIRROR_UPSTREAMS: upstreams }), [
    'error MIRROR_UPSTREAMS: upstreams.0.ca: expected the path of a file; got ""',
  ])
})

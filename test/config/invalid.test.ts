// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has placeholders of its own
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load, problemsOf } from './config-folder.ts'

/** [text of mirror.yml, the lines that `config check` prints: place, then message] */
const cases: readonly (readonly [string, ...string[]])[] = [
  // Names.
  ['cache:\n  maxsize: 1GB\n', '2:3 unknown key "cache.maxsize": did you mean "maxSize"?'],
  ['cahce:\n  maxSize: 1GB\n', '1:1 unknown key "cahce": did you mean "cache"?'],
  ['maxSize: 1GB\n', '1:1 unknown key "maxSize": it belongs at "cache.maxSize"'],
  ['cache.revalidate: 5m\n', '1:1 unknown key "cache.revalidate": write it nested, not with a dot'],
  ['storage:\n  path: /data\n', '2:3 unknown key "storage.path"'],
  ['server:\n  tls:\n    cert: /a\n', '3:5 unknown key "server.tls.cert"'],
  [
    'upstreams:\n  - name: ghcr.io\n    ulr: https://x\n',
    '3:5 unknown key "upstreams.0.ulr": did you mean "url"?',
  ],
  ['__proto__:\n  a: 1\n', '1:1 unknown key "__proto__"'],
  ['a: 1\nb: 2\n', '1:1 unknown key "a"', '2:1 unknown key "b"'],
  // Other encodings, as they look when they are read as UTF-8.
  ['s\0e\0r\0v\0e\0r\0:\0', '1:1 this file is not in UTF-8: save it again with that encoding'],
  ['\uFFFD\uFFFDserver:\n', '1:1 this file is not in UTF-8: save it again with that encoding'],
  ['# caf\uFFFD\n', '1:1 this file is not in UTF-8: save it again with that encoding'],
  // YAML.
  ['log:\n  level: info\n  level: warn\n', '3:3 the key "level" occurs twice'],
  ['log:\n\tlevel: info\n', '2:1 a tab indents this line: use spaces'],
  [
    '# ours\n log:\n   level: info\nstorage:\n  dir: x\ncache: {}\n',
    '4:1 this line begins further left than the first key: begin all keys of the top in the first column',
  ],
  [
    'log:\n   level: info\n  format: text\n',
    '3:1 this line does not begin in the column of those that it belongs to',
  ],
  [
    'upstreams:\n  - name: docker.io\n  name: ghcr.io\n',
    '3:1 this line does not begin in the column of those that it belongs to',
  ],
  [
    'log: {level: info\nstorage: {}\n',
    '2:1 YAML: Flow map in block collection must be sufficiently indented and end with a }',
  ],
  [
    'server:\n  listen: [::1]:5000\n',
    '2:16 YAML: Unexpected scalar at node end: write an address in brackets in quotes, "[::1]:5000"',
  ],
  ['log: {}\n---\nlog: {}\n', '2:1 a second document begins here ("---"): one file holds one'],
  ['- log\n', '1:1 expected settings such as "cache: {maxSize: 50GB}"'],
  ['just text\n', '1:1 expected settings such as "cache: {maxSize: 50GB}"'],
  ['storage:\n  dir: *nowhere\n', '2:8 unknown alias *nowhere: its anchor must stand before it'],
  ['storage: !local\n  dir: x\n', '1:10 YAML: Unresolved tag: !local'],
  ['? [a, b]\n: 1\n', '1:3 a key must be plain text'],
  ['x-a: &a [*a]\n', '1:9 too many or too deeply nested values'],
  ['limits:\n  <<: 3\n', '2:3 expected a map, or a list of maps, after "<<"'],
  // Kinds.
  [
    'upstreams:\n  - name: local\n    url: http://10.0.0.1:5000\n',
    '2:11 upstreams.0.name: "local" means what is pushed to this mirror: give the registry another name, and its url',
  ],
  ['cache: 50GB\n', '1:8 cache: expected a map of settings; got "50GB"'],
  ['server:\n  - listen\n', '2:3 server: expected a map of settings; got a list'],
  [
    'upstreams: docker.io\n',
    '1:12 upstreams: expected a list of upstreams such as "- name: docker.io", or "[{name: docker.io}]" on one line; got "docker.io"',
  ],
  [
    'upstreams: docker.io, ghcr.io\n',
    '1:12 upstreams: expected a list of upstreams such as "- name: docker.io", or "[{name: docker.io}]" on one line; got "docker.io, ghcr.io"',
  ],
  [
    'upstreams: [docker.io]\n',
    '1:13 upstreams.0: expected a map with a name such as "- name: docker.io"; got "docker.io"',
  ],
  [
    'upstreams:\n  - docker.io\n',
    '2:5 upstreams.0: expected a map with a name such as "- name: docker.io"; got "docker.io"',
  ],
  ['upstreams: []\n', '1:12 upstreams: expected at least one upstream; leave the key out for Docker Hub'],
  ['storage:\n  dir: 5\n', '2:8 storage.dir: expected the path of a folder; got 5: write it in quotes'],
  ['storage:\n  dir: ""\n', '2:8 storage.dir: expected the path of a folder; got ""'],
  // Units and ranges.
  ['cache:\n  revalidate: 6 hours\n', '2:15 cache.revalidate: expected a duration such as 6h; got "6 hours"'],
  ['cache: {revalidate: [1]}\n', '1:21 cache.revalidate: expected a duration such as 6h; got a list'],
  ['cache:\n  staleAfter: 1h\n', '2:15 cache.staleAfter: expected a duration from 0s to 10m; got "1h"'],
  ['cache:\n  negative: never\n', '2:13 cache.negative: expected a duration such as 6h; got "never"'],
  ['cache:\n  minFree: 5%\n', '2:12 cache.minFree: expected a size such as 50GB or 512MiB; got "5%"'],
  [
    'cache:\n  maxSize: 50G\n',
    '2:12 cache.maxSize: expected a size such as 50GB or 512MiB; got "50G": write 50GB (decimal) or 50GiB (binary)',
  ],
  ['cache:\n  maxSize: 120%\n', '2:12 cache.maxSize: expected a share above 0% and at most 100%; got "120%"'],
  ['limits:\n  stall: 0\n', '2:10 limits.stall: expected a duration from 1s to 1h; got 0'],
  ['limits:\n  stall: never\n', '2:10 limits.stall: expected a duration such as 6h; got "never"'],
  [
    'limits:\n  rate: 8Mb/s\n',
    '2:9 limits.rate: expected a rate such as 10MB/s or 8Mbit/s, or off; got "8Mb/s"',
  ],
  ['limits:\n  rate: true\n', '2:9 limits.rate: expected a rate such as 10MB/s, or off; got true'],
  ['limits:\n  downloads: 0\n', '2:14 limits.downloads: expected a whole number from 1 to 1000; got 0'],
  ['limits:\n  connections: 33\n', '2:16 limits.connections: expected a whole number from 1 to 32; got 33'],
  ['limits:\n  connections: 1.5\n', '2:16 limits.connections: expected a whole number from 1 to 32; got 1.5'],
  ['limits:\n  retries: -1\n', '2:12 limits.retries: expected a whole number from 0 to 1000; got -1'],
  ['limits:\n  retries: many\n', '2:12 limits.retries: expected a whole number from 0 to 1000; got "many"'],
  [
    'cache:\n  finish: 50%\n',
    '2:11 cache.finish: expected always, never or a share such as "started: 50%"; got "50%"',
  ],
  [
    'cache:\n  finish: {begun: 50%}\n',
    '2:11 cache.finish: expected always, never or a share such as "started: 50%"; got a map',
  ],
  [
    'cache:\n  finish: {started: 50%, ended: 60%}\n',
    '2:11 cache.finish: expected always, never or a share such as "started: 50%"; got a map',
  ],
  ['cache:\n  finish: {started: half}\n', '2:11 cache.finish: expected a share such as 80%; got "half"'],
  [
    'cache:\n  finish: {started: 0%}\n',
    '2:11 cache.finish: expected a share above 0% and at most 100%; got "0%"',
  ],
  [
    'cache:\n  finish: {started: "${NOWHERE}"}\n',
    '2:11 cache.finish: the variable NOWHERE is not set: set it, or write ${NOWHERE:-default}',
  ],
  ['cache:\n  wanted: maybe\n', '2:11 cache.wanted: expected true or false; got "maybe"'],
  ['cache:\n  readAhead: -1\n', '2:14 cache.readAhead: expected a size such as 50GB or 512MiB; got -1'],
  [
    'limits:\n  reserve: 1000001\n',
    '2:12 limits.reserve: expected a whole number from 0 to 1000000; got 1000001',
  ],
  // Words.
  [
    'log:\n  level: warning\n',
    '2:10 log.level: expected one of error, warn, info, debug, trace; got "warning": did you mean "warn"?',
  ],
  [
    'log:\n  format: xml\n',
    '2:11 log.format: expected one of auto, pretty, text, json, logstash, ecs; got "xml"',
  ],
  [
    'local:\n  push: private\n',
    '2:9 local.push: expected one of off, this-machine, private-networks, users, anyone; got "private"',
  ],
  ['local:\n  delete: maybe\n', '2:11 local.delete: expected true or false; got "maybe"'],
  [
    'server:\n  trustProxy: ["10.0.0.0/33", 127.1]\n',
    '2:16 server.trustProxy.0: expected an address or a network such as "10.0.0.0/8"; got "10.0.0.0/33"',
    '2:31 server.trustProxy.1: expected an address or a network such as "10.0.0.0/8"; got 127.1',
  ],
  [
    'server:\n  publicUrl: mirror.lan\n',
    '2:14 server.publicUrl: expected an http or https URL such as https://mirror.example.com; got "mirror.lan": begin with https://',
  ],
  [
    'server:\n  publicUrl: https://ann:canary@mirror.lan\n',
    '2:14 server.publicUrl: a public URL holds no user or password',
  ],
  [
    'local:\n  repositories:\n    - ok\n    - UPPER\n',
    '4:7 local.repositories.1: expected a pattern such as "*" or "local/**"; got "UPPER"',
  ],
  // Addresses.
  [
    'server:\n  listen: "5000:5000:5000"\n',
    '2:11 server.listen: expected an address such as ":5000", "127.0.0.1:5000" or "unix:/run/larder.sock"; got "5000:5000:5000"',
  ],
  ['server:\n  listen: ":70000"\n', '2:11 server.listen: expected a port from 0 to 65535; got 70000'],
  [
    'server:\n  listen: "::1:5000"\n',
    '2:11 server.listen: expected an address such as ":5000", "127.0.0.1:5000" or "unix:/run/larder.sock"; got "::1:5000": write an IPv6 address in brackets, "[::1]:5000"',
  ],
  [
    'server:\n  listen: unix:here\n',
    '2:11 server.listen: expected an absolute path after "unix:"; got "unix:here"',
  ],
  [
    'server:\n  listen:\n    - ":1"\n    - 300.1.1.1:5\n',
    '4:7 server.listen.1: expected an address such as ":5000", "127.0.0.1:5000" or "unix:/run/larder.sock"; got "300.1.1.1:5"',
  ],
  ['server:\n  listen: []\n', '2:11 server.listen: expected at least one address'],
  [
    'server:\n  listen: [":1", [], x, 0.0.0.0:1]\n',
    '2:18 server.listen.1: expected an address such as ":5000", or a list of them; got a list',
    '2:22 server.listen.2: expected an address such as ":5000", "127.0.0.1:5000" or "unix:/run/larder.sock"; got "x"',
    '2:25 server.listen.3: :1 takes 0.0.0.0:1 with it: keep one',
  ],
  ['server:\n  tls:\n    key: k.pem\n', '3:10 server.tls.key: key needs certificate'],
  // Upstreams.
  [
    'upstreams:\n  - url: https://x.io\n',
    "2:5 upstreams.0.name: expected a registry's host such as ghcr.io or localhost:5001; got nothing",
  ],
  [
    'upstreams:\n  - name: hub\n',
    '2:11 upstreams.0.name: "hub" is not a host: it needs a url that says where the registry is',
  ],
  [
    'upstreams:\n  - name: local\n    url: https://registry.lan\n',
    '2:11 upstreams.0.name: "local" means what is pushed to this mirror: give the registry another name, and its url',
  ],
  [
    'upstreams:\n  - name: hub.docker.com\n',
    '2:11 upstreams.0.name: Docker Hub is called "docker.io" here; got "hub.docker.com"',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n  - name: ghcr.io\n',
    '3:11 upstreams.1.name: "ghcr.io" is already upstream 0: a name may occur once',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    url: ghcr.io\n',
    '3:10 upstreams.0.url: expected an http or https URL such as https://ghcr.io; got "ghcr.io": begin with https://',
  ],
  [
    'upstreams:\n  - name: docker.io\n    url: https://index.docker.io/v1/\n',
    '3:10 upstreams.0.url: index.docker.io/v1/ is what Docker calls its login, not a registry: leave url away for docker.io',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    url: ftp://ghcr.io\n',
    '3:10 upstreams.0.url: expected an http or https URL such as https://ghcr.io; got "ftp://ghcr.io"',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    url: https://ann:canary@ghcr.io\n',
    '3:10 upstreams.0.url: a URL must not hold a user name or password: use username and password',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    url: https://ghcr.io/?a=b\n',
    '3:10 upstreams.0.url: expected a URL without "?" and "#"; got "https://ghcr.io/?a=b"',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    username: ann\n    password: ${P:-a}\n    passwordFile: p\n',
    '5:19 upstreams.0.passwordFile: password and passwordFile are both set: keep one',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    username: ann\n',
    '3:15 upstreams.0.username: a username needs a password or a passwordFile',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    password: 12345\n    username: ann\n',
    '3:15 upstreams.0.password: expected a password; got a number: write it in quotes',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    password: ${P:-a}\n',
    '3:15 upstreams.0.password: a password needs a username',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    username: ann\n    ca: 5\n',
    '3:15 upstreams.0.username: a username needs a password or a passwordFile',
    '4:9 upstreams.0.ca: expected the path of a file; got 5: write it in quotes',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    realms: [http://a.io]\n',
    '3:14 upstreams.0.realms.0: expected https: a registry at https must not send credentials over plain http',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    realms: a.io\n',
    '3:13 upstreams.0.realms: expected a list of hosts or https URLs; got "a.io"',
  ],
  [
    'upstreams:\n  - name: ghcr.io\n    proxy: socks5://ann:canary@x\n',
    '3:12 upstreams.0.proxy: expected an http or https URL such as http://proxy.lan:3128; got something else',
  ],
  [
    'upstreams:\n  - realms: [5, http://a.io]\n    password: ${P:-a}\n  - name: ghcr.io\n    ulr: x\n    username: ann\n',
    "2:5 upstreams.0.name: expected a registry's host such as ghcr.io or localhost:5001; got nothing",
    '2:14 upstreams.0.realms.0: expected a host or an https URL; got 5',
    '2:17 upstreams.0.realms.1: expected https: a registry at https must not send credentials over plain http',
    '3:15 upstreams.0.password: a password needs a username',
    '5:5 unknown key "upstreams.1.ulr": did you mean "url"?',
    '6:15 upstreams.1.username: a username needs a password or a passwordFile',
  ],
  // Replacements.
  [
    'storage:\n  dir: ${NOWHERE}/x\n',
    '2:8 storage.dir: the variable NOWHERE is not set: set it, or write ${NOWHERE:-default}',
  ],
  [
    'storage:\n  dir: ${A-b}\n',
    '2:8 storage.dir: ${A-b} is none of ${NAME}, ${NAME:-default} and ${file:/path}',
  ],
  ['storage:\n  dir: "${A"\n', '2:8 storage.dir: "${" without "}": write $${ for the characters themselves'],
  [
    'upstreams:\n  - name: ghcr.io\n    username: ann\n    password: ${file:gone}\n',
    '4:15 upstreams.0.password: ${file:gone}: no such file',
  ],
]

for (const [text, ...expected] of cases) {
  test(`refused: ${JSON.stringify(text)}`, async (t) => {
    const problems = await problemsOf(load(t, text))
    const shown = problems.map(({ where, severity, message }) => {
      return `${where.replace('mirror.yml:', '')} ${severity === 'error' ? '' : 'warning '}${message}`
    })
    // Whatever else is said, the settings that wait for a later version say so.
    const waiting = /has no effect yet/.test(expected.join())
      ? shown
      : shown.filter((line) => !line.includes('no effect yet'))
    assert.deepEqual(waiting, expected)
    assert.ok(!shown.join().includes('canary'), 'a secret is repeated')
  })
}

test('maps that are merged into each other without end are told, and end', async (t) => {
  const levels = Array.from({ length: 40 }, (_, level) => {
    const below = level === 0 ? '{stall: 1m}' : `{<<: [*m${level - 1}, *m${level - 1}]}`
    return `x-${level}: &m${level} ${below}\n`
  })
  const [problem] = await problemsOf(load(t, levels.join('')))
  assert.match(problem?.message ?? '', /^too many or too deeply nested values$/)
})

test('all problems come at once, by line', async (t) => {
  const text = `server:
  listen: nowhere
cache:
  maxsize: 1
  revalidate: soon
upstreams:
  - name: docker.io
    username: ann
    extra: 1
  - name: docker.io
    url: x
limits: {downloads: 0}
log: 5
`
  const problems = await problemsOf(
    load(t, text, { environment: { MIRROR_CACH_MIN_FREE: '1', MIRROR_LIMITS_STALL: 'x' } }),
  )
  assert.deepEqual(
    problems.map(({ where }) => where.replace('mirror.yml:', '')),
    ['2:11', '4:3', '5:15', '8:15', '9:5', '10:11', '11:10', '12:21', '13:6', 'environment', 'environment'],
  )
})

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { RegistryError } from '../../src/oci/error.ts'
import { asStorageError, StorageError } from '../../src/storage/error.ts'

test('a failure of the file system becomes one of the storage, with what, why and its cause', async () => {
  const reading = readFile('/')
  await assert.rejects(asStorageError('blob x could not be read', reading), (error: StorageError) => {
    assert.equal(error.name, 'StorageError')
    assert.equal(error.code, 'BROKEN')
    assert.match(error.message, /^blob x could not be read: EISDIR/)
    assert.equal((error.cause as NodeJS.ErrnoException).code, 'EISDIR')
    return true
  })
})

test('a failure of SQLite becomes one of the storage', () => {
  using database = new DatabaseSync(':memory:')
  database.exec('PRAGMA page_size = 512; PRAGMA max_page_count = 3; CREATE TABLE t (x)')
  assert.throws(
    () => database.prepare('INSERT INTO t VALUES (zeroblob(100000))').run(),
    (error) => (StorageError.from(error, 'x') as StorageError).code === 'FULL',
  )
  const corrupt = Object.assign(new Error('database disk image is malformed'), { errcode: 11 | (3 << 8) })
  assert.equal((StorageError.from(corrupt, 'x') as StorageError).code, 'CORRUPT', 'an extended code')
})

test('what is no failure of the storage comes back as it is', () => {
  const aborted = AbortSignal.abort().reason
  for (const error of [
    new RegistryError('SIZE_INVALID', 'x'),
    new TypeError('x'),
    aborted,
    'text',
    undefined,
  ]) {
    assert.equal(StorageError.from(error, 'y'), error)
  }
  const told = new StorageError('FULL', 'x')
  assert.equal(StorageError.from(told, 'y'), told, 'told once')
})

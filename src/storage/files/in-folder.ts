import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { absentIfMissing, fileErrorCode, isAbsence } from './file-errors.ts'

/**
 * Does `work` in a folder, which is made again where somebody has removed it, or put something else there. Throws what `work`
 * and the file system throw.
 */
export async function inFolder<Value>(folder: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work()
  } catch (error) {
    if (!isAbsence(error)) throw error
    await makeFolder(folder, dirname(folder))
    return work()
  }
}

/**
 * Makes a folder with those above it, up to `top`, and returns the first that was made; undefined where all were there.
 * What is in the way keeps its bytes, under another name. Throws the file system's error: also where a link leads nowhere,
 * since what it leads to may be mounted later.
 */
export async function makeFolder(folder: string, top: string): Promise<string | undefined> {
  const paths: string[] = []
  for (let path = folder; path.length > top.length; path = dirname(path)) paths.unshift(path)
  for (const path of paths) {
    if (await isInTheWay(path)) await absentIfMissing(rename(path, `${path}.set-aside-${Date.now()}`))
  }
  return mkdir(folder, { recursive: true })
}

/** Moves a file to a place where a folder may be, which nobody but a careless hand has made. */
export async function moveOver(path: string, target: string): Promise<void> {
  await rename(path, target).catch(async (error: unknown) => {
    if (fileErrorCode(error) !== 'EISDIR') throw error
    await rm(target, { recursive: true })
    await rename(path, target)
  })
}

async function isInTheWay(path: string): Promise<boolean> {
  try {
    return !(await stat(path)).isDirectory()
  } catch (error) {
    if (fileErrorCode(error) === 'ELOOP') return true
    if (isAbsence(error)) return false
    throw error
  }
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NothingNew, type Option, Paths } from './paths.ts'

/** Each actor's steps, in order: a step appends its name to what it touches. */
type Actors = readonly (readonly (readonly string[])[])[]

/** How the things look at the end of each path; `tells`: whether the search is told what the steps touch. */
function endsOf(actors: Actors, tells: boolean): { ends: Set<string>; seen: Set<string>; paths: number } {
  const paths = new Paths()
  const ends = new Set<string>()
  const seen = new Set<string>()
  let count = 0
  do {
    const next = actors.map(() => 0)
    const things: Record<string, string> = { x: '', y: '', z: '' }
    try {
      for (;;) {
        seen.add(JSON.stringify([things, next]))
        const options: Option[] = actors.flatMap((steps, actor) => {
          const touches = steps[next[actor] ?? 0]
          return touches ? [{ name: `${actor}`, touches: tells ? touches : undefined }] : []
        })
        if (options.length === 0) break
        const actor = Number(paths.take(options).name)
        for (const thing of actors[actor]?.[next[actor] ?? 0] ?? []) things[thing] += `${actor}`
        next[actor] = (next[actor] ?? 0) + 1
      }
      count += 1
      ends.add(JSON.stringify(things))
    } catch (error) {
      if (!(error instanceof NothingNew)) throw error
    }
  } while (paths.next())
  return { ends, seen, paths: count }
}

test('orders that differ only in steps which touch nothing in common are tried once, and every state is seen', () => {
  const touches = fc.subarray(['x', 'y', 'z'])
  const actors = fc.array(fc.array(touches, { maxLength: 3 }), { minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(actors, (each) => {
      const all = endsOf(each, false)
      const fewer = endsOf(each, true)
      assert.deepEqual(fewer.ends, all.ends)
      assert.deepEqual(fewer.seen, all.seen)
      assert.equal(fewer.paths, fewer.ends.size, 'no two paths lead to the same end')
    }),
  )
})

test('every order of two actors with five steps each: 252', () => {
  const steps = Array.from({ length: 5 }, () => ['x'])
  assert.equal(endsOf([steps, steps], true).paths, 252)
})

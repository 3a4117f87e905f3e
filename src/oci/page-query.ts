import { RegistryError } from './error.ts'

/** The query of a page of a list (distribution-spec end-8b), of which only `n` and `last` are ours to understand. */
export interface PageQuery {
  /**
   * As the client wrote it, without "?" and without `ns`: what else is in it is between it and the upstream. Only an
   * `n` beyond what an upstream is asked for is made smaller.
   */
  readonly text: string
  readonly n: number | undefined
  readonly last: string | undefined
  /** Whether it has other parameters than these two, such as an upstream's own mark of where a page begins. */
  readonly isForeign: boolean
}

/** Entries of a page: of what is here, and of what an upstream is asked for. */
export const maximumPageSize = 100_000
const maximumUpstreamPageSize = 10_000
/** Characters, and parameters, of a query; an upstream's own marks are far shorter. */
const maximumLength = 4096
const maximumParameters = 32

/**
 * Reads the query of a raw URL. Whoever wants more than a page holds gets a page, and a link to the next one. Throws
 * RegistryError PAGINATION_NUMBER_INVALID (400) for an `n` that is no number of up to nine digits, UNSUPPORTED (414)
 * for a query that is too long to be passed on.
 */
export function parsePageQuery(rawUrl: string): PageQuery {
  const mark = rawUrl.indexOf('?')
  const text = withoutNamespace(mark < 0 ? '' : rawUrl.slice(mark + 1))
  const passed = text === '' ? [] : text.split('&')
  if (text.length > maximumLength || passed.length > maximumParameters) {
    const message = `the query has more than ${maximumLength} characters or ${maximumParameters} parameters`
    throw new RegistryError('UNSUPPORTED', message, { status: 414 })
  }
  const values = new URLSearchParams(text)
  const n = parsePageSize(values.get('n'))
  return {
    text:
      n === undefined || n <= maximumUpstreamPageSize ? text : withPageSize(text, maximumUpstreamPageSize),
    n: n === undefined ? undefined : Math.min(n, maximumPageSize),
    last: values.get('last') ?? undefined,
    isForeign: passed.some((parameter) => !['n', 'last'].includes(nameOf(parameter))),
  }
}

/** A query without `ns`, which names a registry to a mirror and means nothing behind it. */
export function withoutNamespace(text: string): string {
  return text
    .split('&')
    .filter((part) => part !== '' && nameOf(part) !== 'ns')
    .join('&')
}

/** The same page with another size. */
export function withPageSize(text: string, n: number): string {
  const others = text.split('&').filter((part) => part !== '' && nameOf(part) !== 'n')
  return [...others, `n=${n}`].join('&')
}

function nameOf(parameter: string): string {
  return [...new URLSearchParams(parameter).keys()][0] ?? ''
}

function parsePageSize(text: string | null): number | undefined {
  if (text === null) return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new RegistryError('PAGINATION_NUMBER_INVALID', 'n must be a number of one to nine digits')
}

/** At most so many, behind the last one of the page before. */
export interface PageOf<Last> {
  readonly after?: Last | undefined
  readonly limit: number
}

import ipaddr from 'ipaddr.js'
import type { Origin } from './origin.ts'

export const actions = ['pull', 'push', 'delete'] as const

/** What somebody wants to do in a repository, and may be refused. */
export type Action = (typeof actions)[number]

/** What a token lets its bearer do in a repository (distribution "Token Authentication": access). */
export interface Scope {
  /** As clients write it. */
  readonly repository: string
  readonly actions: readonly Action[]
}

/**
 * Who asks. `fingerprint`: of the hash of the password that whoever asks has just shown; `scopes`: all that a token was
 * given for, where one came instead.
 */
export type Who =
  | { readonly kind: 'anyone' }
  | {
      readonly kind: 'user'
      readonly name: string
      readonly fingerprint?: string | undefined
      readonly scopes?: readonly Scope[] | undefined
    }

export const anyone: Who = { kind: 'anyone' }

/** Who may push and delete (`local.push`). */
export type PushRule = 'off' | 'this-machine' | 'private-networks' | 'users' | 'anyone'

export interface Rules {
  readonly push: PushRule
  /** Whether anybody can log in. */
  readonly hasUsers: boolean
  /** What this machine is called. */
  readonly hostname: string
}

/** What somebody wants to do, and all that is known of where it comes from. */
export interface Wish {
  readonly who: Who
  readonly action: Action
  /** As the client writes it. */
  readonly repository: string
  readonly origin: Origin
  /** The `Host` header. */
  readonly host?: string | undefined
}

/**
 * `UNAUTHORIZED`: a login would help, or a token for this. `DENIED`: nothing would that the client can do at once.
 * `reason`: a sentence for whoever is refused, that says who may.
 */
export type Decision =
  | { readonly isAllowed: true }
  | { readonly isAllowed: false; readonly code: 'UNAUTHORIZED' | 'DENIED'; readonly reason: string }

/**
 * Who may push where `local.push` does not say so: users where there is a file of them, also while nobody is in it, for
 * nobody shall be let in by a file that lost its lines.
 */
export function usualPushRule(hasFileOfUsers: boolean): PushRule {
  return hasFileOfUsers ? 'users' : 'private-networks'
}

/** Who may push and delete, for a sentence. */
export function pushersOf(rule: PushRule, hasFileOfUsers: boolean): string {
  if (rule === 'off' || (rule === 'users' && !hasFileOfUsers)) return 'nobody'
  if (rule === 'anyone') return 'anyone'
  const users = 'users with a login'
  if (rule === 'users') return users
  const machines = rule === 'this-machine' ? 'this machine' : 'the machines of private networks'
  return hasFileOfUsers ? `${machines} and ${users}` : machines
}

const allowed: Decision = { isAllowed: true }

/**
 * Who may do what, from where: the one place that says so. Everybody may pull. Pushing and deleting is for those of
 * `local.push`, and for whoever has a login; for nobody where it is off, and for no page in a browser, which sends a
 * saved login along unasked.
 */
export function decide(wish: Wish, rules: Rules): Decision {
  const { who, action, repository, origin } = wish
  if (action === 'pull') return allowed
  const { push: rule, hasUsers } = rules
  if (rule === 'off') return denied('pushing is switched off here (local.push: off in mirror.yml)')
  if (origin.isOfPage) return denied('nothing is pushed or deleted by a page in a browser')
  const refusal = refusalOfAnyone(rule, wish, rules)
  if (refusal === undefined) return allowed
  if (who.kind === 'user') {
    if (who.scopes === undefined || isIn(who.scopes, repository, action)) return allowed
    return unauthorized(`the token is not one to ${action} with in ${repository}`)
  }
  if (!hasUsers) return denied(refusal)
  return unauthorized(rule === 'users' ? refusal : `${refusal}; or log in`)
}

function denied(reason: string): Decision {
  return { isAllowed: false, code: 'DENIED', reason }
}

function unauthorized(reason: string): Decision {
  return { isAllowed: false, code: 'UNAUTHORIZED', reason }
}

function isIn(scopes: readonly Scope[], repository: string, action: Action): boolean {
  return scopes.some((scope) => scope.repository === repository && scope.actions.includes(action))
}

/** Why somebody without a login may not push, or delete; undefined where anyone like that may. */
function refusalOfAnyone(
  rule: Exclude<PushRule, 'off'>,
  { action, repository, origin, host }: Wish,
  { hostname, hasUsers }: Rules,
): string | undefined {
  if (rule === 'anyone') return undefined
  if (rule === 'users' && !hasUsers) {
    return 'only users may push to this mirror, and it has none yet (auth.htpasswd in mirror.yml)'
  }
  if (rule === 'users') {
    const deed = action === 'push' ? 'pushing to' : 'deleting in'
    return `${deed} ${repository} needs a login: log in to this mirror first (docker login)`
  }
  if (origin.by === 'hidden') {
    return 'a web server stands between, and it cannot be told for whom it asks: name it in server.trustProxy in mirror.yml and let it set X-Forwarded-For (docs/operating.md), or push to the mirror itself'
  }
  if (origin.by === 'untold') return refusalOfUntold(origin, rule)
  return rule === 'this-machine' ? refusalOfAway(origin, host, hostname) : refusalOfOutside(origin)
}

/** `rule`: what comes by a web server is nobody on this machine. */
function refusalOfUntold({ address }: Origin, rule: PushRule): string {
  const isSocket = address === undefined
  const ways = [
    ...(rule === 'this-machine' ? [] : ['through the web server']),
    isSocket ? 'by 127.0.0.1' : 'by a Unix socket',
  ]
  const peer = isSocket ? 'the Unix socket' : address
  return `${peer} is in server.trustProxy in mirror.yml, and it is not told for whom it asks (X-Forwarded-For, docs/operating.md): push ${ways.join(' or ')}`
}

function refusalOfAway(origin: Origin, host: string | undefined, hostname: string): string | undefined {
  // What a proxy tells of is not this machine, whatever it says: it could say so of everybody.
  if (origin.by !== 'direct' || !(origin.address === undefined || isLoopback(origin.address))) {
    return 'only the machine that this mirror runs on may push to it, by 127.0.0.1, [::1] or a Unix socket (local.push: this-machine in mirror.yml): push from there'
  }
  if (origin.address === undefined || isOwnName(host, hostname)) return undefined
  return 'this machine pushes to the mirror by 127.0.0.1, [::1], localhost or its own name (local.push: this-machine in mirror.yml), and by no other: a page of anywhere could have one that leads here'
}

function refusalOfOutside({ address }: Origin): string | undefined {
  if (address === undefined || isPrivate(address)) return undefined
  return `only private networks may push to this mirror, and ${address} is in none (local.push: private-networks in mirror.yml)`
}

/** Undefined for what is no address. */
function parse(address: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  const [bare = ''] = address.split('%')
  return ipaddr.isValid(bare) ? ipaddr.process(bare) : undefined
}

function isLoopback(address: string): boolean {
  return parse(address)?.range() === 'loopback'
}

/**
 * Whether an address is one of a private network: RFC 1918, RFC 4193, of the link alone, or of this machine. Not
 * 100.64.0.0/10 (RFC 6598): behind the NAT of a provider everybody there has one.
 */
function isPrivate(address: string): boolean {
  return ['private', 'uniqueLocal', 'linkLocal', 'loopback'].includes(parse(address)?.range() ?? '')
}

/**
 * Whether a `Host` names this machine: an address, `localhost`, or what the machine is called. A name of elsewhere may
 * lead here as well, for a page in a browser on this machine (DNS rebinding). Without one (HTTP/1.0) it is none.
 */
function isOwnName(host: string | undefined, hostname: string): boolean {
  const name = host
    ?.toLowerCase()
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
  if (name === undefined) return false
  const own = hostname.toLowerCase()
  return ipaddr.isValid(name) || /(?:^|\.)localhost$/.test(name) || name === own || name === own.split('.')[0]
}

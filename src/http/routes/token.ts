import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Logins } from '../../access/logins.ts'
import type { Login } from '../../access/passwords.ts'
import { anyone, type Scope, type Who } from '../../access/policy.ts'
import { formatScope, parseScopes } from '../../access/scopes.ts'
import { RegistryError } from '../../oci/error.ts'
import { type Authorizer, tokenPath } from '../authorize.ts'
import { credentialsOf } from '../credentials.ts'
import type { RequestContext } from '../request-context.ts'
import type { RequestLog } from '../request-log.ts'

export interface TokenRoutesOptions {
  readonly authorizer: Authorizer
  readonly logins: Pick<Logins, 'issue'>
  readonly requestLog: RequestLog
}

/** Bytes of a form. */
const largestForm = 16 * 1024
const mostRepositories = 50
const challenge = 'Basic realm="larder", charset="UTF-8"'

/**
 * The token service: by GET with Basic (distribution "Token Authentication Specification"), by POST with a form
 * (distribution "OAuth2 Token Authentication"). It gives no refresh tokens: Docker would keep one in place of the
 * password, and a login that it has from elsewhere is answered as that of anyone who pulls.
 */
export async function tokenRoutes(app: FastifyInstance, options: TokenRoutesOptions): Promise<void> {
  const contextOf = (request: FastifyRequest, reply: FastifyReply) =>
    options.requestLog.of(request.raw, reply.raw)
  app.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: largestForm },
    (_, body, done) => done(null, new URLSearchParams(String(body))),
  )
  app.route({
    method: ['GET', 'HEAD'],
    url: tokenPath,
    handler: (request, reply) => {
      const { searchParams } = new URL(request.raw.url ?? '', 'http://mirror')
      const shown = credentialsOf(request.raw)
      const login = shown?.scheme === 'basic' ? shown.login : undefined
      return answer(contextOf(request, reply), reply, searchParams.getAll('scope'), login, options)
    },
  })
  app.route({
    method: 'POST',
    url: tokenPath,
    preParsing: (request, reply, _, done) => {
      contextOf(request, reply).wantBody()
      done()
    },
    handler: (request, reply) => {
      const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams()
      const grant = form.get('grant_type')
      if (grant !== 'password' && grant !== 'refresh_token') {
        const message = 'a token is given for grant_type=password here, or by GET with Basic'
        throw new RegistryError('UNSUPPORTED', message, { status: 400 })
      }
      return answer(contextOf(request, reply), reply, form.getAll('scope'), loginOf(form, grant), options)
    },
  })
}

/** A refresh token is nothing of ours: the login that it stands for is nobody's here. */
function loginOf(form: URLSearchParams, grant: 'password' | 'refresh_token'): Login | undefined {
  const [user, password] = [form.get('username') ?? '', form.get('password') ?? '']
  if (grant === 'refresh_token') return { user: '', password: '' }
  return user + password === '' ? undefined : { user, password }
}

async function answer(
  context: RequestContext,
  reply: FastifyReply,
  asked: readonly string[],
  login: Login | undefined,
  { authorizer, logins }: TokenRoutesOptions,
): Promise<FastifyReply> {
  const scopes = parseScopes(asked)
  if (scopes.length > mostRepositories) {
    const message = `a token is for ${mostRepositories} repositories at most`
    throw new RegistryError('UNSUPPORTED', message, { status: 400 })
  }
  // Whoever only pulls needs no login, and the one that comes may be for elsewhere. Else somebody logs in, also who asks
  // for nothing that there is.
  const isPull = scopes.length > 0 && scopes.every(({ actions }) => actions.join() === 'pull')
  const who = login && !isPull ? await authorizer.logIn(context, login, challenge) : anyone
  const granted = scopes.map((scope) => grantedOf(context, who, scope, authorizer))
  const token = await logins.issue(who, granted)
  return reply
    .header('cache-control', 'no-store')
    .type('application/json; charset=utf-8')
    .send(
      JSON.stringify({
        // Clients of the one protocol look for the first, of the other for the second.
        token: token.text,
        access_token: token.text,
        token_type: 'Bearer',
        expires_in: token.lifetime,
        issued_at: token.issuedAt.toISOString(),
        scope: granted.map(formatScope).join(' '),
      }),
    )
}

/**
 * What somebody may do of what is asked for. What nobody may is left out, and refused when it is tried; what a login
 * would help with is refused now: with less than they asked for, clients tell nobody why it is not enough.
 */
function grantedOf(context: RequestContext, who: Who, scope: Scope, authorizer: Authorizer): Scope {
  const actions = scope.actions.filter((action) => {
    const decision = authorizer.decide(context, who, action, scope.repository)
    if (decision.isAllowed || decision.code === 'DENIED') return decision.isAllowed
    throw new RegistryError('UNAUTHORIZED', decision.reason, { challenge })
  })
  return { repository: scope.repository, actions }
}

import { z } from 'zod'
import { looksForeign } from '../../../access/principal.ts'
import { KithError } from '../../../core/errors.ts'
import { isPeerClass } from '../../../mesh/constraints.ts'
import { parseMoment } from '../../../mesh/policy-conditions.ts'
import {
  type AccessDesk,
  addApiKey,
  addSshLine,
  grantAccess,
  issueToken,
  removeSshLine,
  revokeApiKey,
  revokeGrant,
  revokeSsh,
  rulesOfKey,
} from '../../access/acts.ts'
import { type AccessView, accessView } from '../../access/views.ts'
import type { NodeContext } from '../../context.ts'
import { callersWords, json, type RoutesOf } from '../route.ts'
import type { AccessApi } from './access-api.ts'

const MAX_TEXT = 200
const words = z.array(z.string().max(MAX_TEXT)).max(64).optional()
const rights = { scopes: words, resources: words }
const disconnect = { disconnect_revoked: z.boolean().optional() }
const line = z.string().min(1).max(4_000)

export const accessRoutes: RoutesOf<AccessApi> = {
  'GET /v1/access': json(z.object({}), viewOf),
  'POST /v1/access/key/add': json(z.object({ ...rights, name: z.string().max(MAX_TEXT), until: z.string().max(40).optional() }), async (context, given) => {
    const expiresMs = given.until === undefined ? undefined : await callersWords(() => parseMoment(given.until as string))
    const key = await addApiKey(deskOf(context), { name: given.name, scopes: given.scopes ?? [], resources: resourcesOf(given.resources), expiresMs })
    return { key, api_key: found(viewOf(context).api_keys.find(({ name }) => name === given.name)), rules: rulesOfKey(deskOf(context), given.name) }
  }),
  'POST /v1/access/key/revoke': json(z.object({ ...disconnect, name: z.string().max(MAX_TEXT) }), async (context, given) => {
    const { revoked, rulesRemoved, rulesLeft } = await revokeApiKey(deskOf(context), given.name, given.disconnect_revoked === true)
    return { ...taken(given, revoked), rules_removed: rulesRemoved, rules_left: rulesLeft }
  }),
  'POST /v1/access/grant': json(
    z.object({ ...rights, principal: z.string().max(MAX_TEXT), as: z.string().max(MAX_TEXT).optional() }),
    async (context, given) => {
      const principal = principalOf(context, given.principal)
      const did = given.as === undefined ? undefined : context.mesh.book.resolve(given.as)
      await grantAccess(deskOf(context), { principal, scopes: given.scopes ?? [], resources: resourcesOf(given.resources), did })
      return { grant: found(viewOf(context).grants.find((grant) => grant.principal === principal)) }
    },
  ),
  'POST /v1/access/revoke': json(z.object({ ...disconnect, principal: z.string().max(MAX_TEXT), scopes: words }), async (context, given) =>
    taken(given, await revokeGrant(deskOf(context), principalOf(context, given.principal), given.scopes ?? [], given.disconnect_revoked === true)),
  ),
  'POST /v1/access/ssh/add': json(z.object({ line }), (context, given) => addSshLine(deskOf(context), given.line)),
  'POST /v1/access/ssh/remove': json(z.object({ ...disconnect, fingerprint: z.string().max(MAX_TEXT) }), async (context, given) =>
    taken(given, await removeSshLine(deskOf(context), given.fingerprint, given.disconnect_revoked === true)),
  ),
  'POST /v1/access/ssh/revoke': json(z.object({ ...disconnect, line }), async (context, given) =>
    taken(given, await revokeSsh(deskOf(context), given.line, given.disconnect_revoked === true)),
  ),
  'POST /v1/access/token': json(z.object({ audience: z.string().max(MAX_TEXT).optional() }), async (context, given) => {
    const desk = deskOf(context)
    return { token: await issueToken(desk, await context.vaults.opened('default'), given.audience) }
  }),
}

function deskOf({ access, clock, random, mesh }: NodeContext): AccessDesk {
  // The mesh says why when there is none.
  void mesh
  return { access, clock, random }
}

function viewOf(context: NodeContext): AccessView {
  const { access } = deskOf(context)
  const names = new Map<string, string>(context.mesh.book.list().map(({ did, name }) => [did, name]))
  return accessView(access, (did) => names.get(did) ?? null)
}

/** A peer may be named as everywhere. */
function principalOf({ mesh }: NodeContext, text: string): string {
  return looksForeign(text) || isPeerClass(text) ? text : mesh.book.resolve(text)
}

function resourcesOf(words: readonly string[] | undefined): Record<string, readonly string[]> | undefined {
  if (words === undefined || words.length === 0) return undefined
  const resources: Record<string, string[]> = {}
  for (const word of words) {
    const match = /^([A-Za-z0-9._:/-]{1,128})=([A-Za-z0-9._:/-]{1,128})$/.exec(word)
    if (match === null) throw new KithError('USAGE', 'A resource is written NAME=ACTION, like bucket:photos=read.', { next: 'kith access grant --help' })
    const name = match[1] as string
    resources[name] = [...(resources[name] ?? []), match[2] as string]
  }
  return resources
}

function taken(given: { readonly disconnect_revoked?: boolean | undefined }, revoked: number): { readonly revoked: number; readonly disconnected: boolean } {
  return { revoked, disconnected: given.disconnect_revoked === true && revoked > 0 }
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new KithError('INTERNAL')
  return value
}

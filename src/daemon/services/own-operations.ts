import { type AnyOperation, defineOperation } from '../../call/define.ts'
import { jsonSchema } from '../../call/schema.ts'
import type { Authorize } from '../../call/types.ts'
import type { NodeStatus } from '../status.ts'
import type { CallAccess } from './calls.ts'

export interface OwnOperationsParts {
  readonly status: () => NodeStatus
}

/** What every node offers, so that somebody who meets it finds something: who it is, for peers; how it is, for callers with the scope `node:status`. */
export function ownOperations({ status }: OwnOperationsParts): readonly AnyOperation[] {
  return [
    defineOperation({
      name: 'node/about',
      kind: 'query',
      access: 'everyone',
      visibility: 'listed',
      summary: 'Who this node is.',
      input: jsonSchema<unknown>(true),
      output: jsonSchema<{ did: string | null; name: string | null; version: string }>({
        type: 'object',
        properties: { did: { type: ['string', 'null'] }, name: { type: ['string', 'null'] }, version: { type: 'string' } },
        required: ['did', 'name', 'version'],
      }),
      handler: () => {
        const { did, name, version } = status()
        return { did, name, version }
      },
    }),
    defineOperation({
      name: 'node/status',
      kind: 'query',
      access: { all: ['node:status'] },
      summary: 'What runs on this node and what does not, without who its peers are.',
      input: jsonSchema<unknown>(true),
      output: jsonSchema<object>({ type: 'object' }),
      handler: () => {
        const { did, name, version, uptime_s, degraded, services, peers } = status()
        return { did, name, version, uptime_s, degraded: degraded.map(({ service, code }) => ({ service, code })), services, peers: peers.length }
      },
    }),
  ]
}

/** By what operations say about themselves alone. */
const byScopes: Authorize = (caller, { access, visibility }) => {
  const refused = visibility === 'listed' ? 'denied' : 'hidden'
  if (caller.via === 'local' || access === 'everyone') return 'allowed'
  if (access === undefined) return refused
  const { all = [], any = [], resource } = access
  const scoped = all.every((scope) => caller.scopes.has(scope)) && (any.length === 0 || any.some((scope) => caller.scopes.has(scope)))
  if (!scoped) return refused
  if (resource === undefined) return 'allowed'
  const actions = caller.resources.get(resource.type)
  return actions !== undefined && (resource.action === undefined || actions.includes(resource.action)) ? 'allowed' : refused
}

export const linkAccess = (): CallAccess => ({
  authorize: byScopes,
  callerOf: (peer) => ({ id: peer, did: peer, via: 'link', scopes: new Set(), resources: new Map() }),
})

import { type AnyOperation, defineOperation } from '../../call/define.ts'
import { jsonSchema } from '../../call/schema.ts'
import type { NodeStatus } from '../status.ts'

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

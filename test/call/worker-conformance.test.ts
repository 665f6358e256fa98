import { encodeStatement } from '../../src/call/statement.ts'
import { encodeHeadFrame, encodeWorkerFrame, type OfferedOperation } from '../../src/call/worker-codec.ts'
import { conformance, type Generator } from '../conformance.ts'

const KINDS = ['query', 'mutation', 'subscription'] as const

function offered(g: Generator, at: number): OfferedOperation {
  const scopes = Array.from({ length: g.integer(3) }, (_, index) => `scope:${index}:${g.integer(100)}`)
  const access = [undefined, 'everyone' as const, { all: scopes, any: ['a', 'b'], resource: { type: 'bucket', action: 'read' } }][g.integer(3)]
  return {
    name: `service/op${at}`,
    kind: KINDS[g.integer(3)] ?? 'query',
    ...(g.integer(2) === 0 ? {} : { summary: `does ${g.integer(1_000)}` }),
    ...(access === undefined ? {} : { access }),
    listed: g.integer(2) === 1,
    idempotent: g.integer(2) === 1,
    clientStream: g.integer(2) === 1,
    resumable: g.integer(2) === 1,
    deadlineMs: g.integer(2) === 0 ? null : g.integer(100_000),
    input: { type: 'object', maxProperties: g.integer(100) },
    output: true,
    errors: g.integer(2) === 0 ? {} : { FULL: { type: 'number', maximum: g.integer(100) } },
  }
}

conformance('icn/worker/1 register', (g) =>
  encodeWorkerFrame({
    kind: 'register',
    sequence: g.integer(1_000_000),
    registration: { alias: `dev${g.integer(1_000)}`, operations: Array.from({ length: 1 + g.integer(4) }, (_, at) => offered(g, at)) },
  }),
)
conformance('icn/worker/1 beat', (g) => encodeWorkerFrame({ kind: 'beat', running: g.integer(100_000) }))
conformance('icn/worker/1 accepted', (g) =>
  encodeHeadFrame({ kind: 'accepted', sequence: g.integer(1_000_000), beatMs: g.integer(100_000), lostMs: g.integer(100_000) }),
)
conformance('icn/worker/1 refused', (g) =>
  encodeHeadFrame({ kind: 'refused', sequence: g.integer(1_000_000), number: g.integer(60_000), detail: `dev${g.integer(100)}/fs` }),
)
conformance('icn/call/1 statement', (g) =>
  encodeStatement({
    id: `ssh:SHA256:${g.integer(1_000_000)}`,
    via: (['link', 'ssh-key', 'ssh-certificate', 'token', 'api-key'] as const)[g.integer(5)] ?? 'link',
    scopes: new Set(Array.from({ length: g.integer(4) }, (_, at) => `scope:${at}`)),
    resources: new Map([[`bucket:${g.integer(100)}`, ['read', 'write']]]),
    principals: g.integer(2) === 0 ? [] : ['deploy'],
  }),
)

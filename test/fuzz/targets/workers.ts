import assert from 'node:assert/strict'
import { createHead } from '../../../src/call/head.ts'
import { HEAD_LIMITS } from '../../../src/call/head-types.ts'
import { decodeStatement, encodeStatement } from '../../../src/call/statement.ts'
import { offeredOperations } from '../../../src/call/worker.ts'
import { decodeHeadFrame, decodeWorkerFrame, encodeHeadFrame, encodeWorkerFrame, type OfferedOperation } from '../../../src/call/worker-codec.ts'
import { manualClock } from '../../../src/core/manual-clock.ts'
import { silentLogger } from '../../../src/core/observe/log.ts'
import type { Did } from '../../../src/identity/did.ts'
import { callerWith, operation } from '../../call/head-support.ts'
import { localWorld } from '../../call/support.ts'
import { FakeStream } from '../fake-stream.ts'
import type { FuzzTarget } from '../mutate.ts'

const OPERATIONS: readonly OfferedOperation[] = offeredOperations([
  operation('fs/read', () => 1, { all: ['fs'], any: ['a', 'b'], resource: { type: 'bucket', action: 'read' } }),
  operation('fs/stat', () => 1, undefined, true),
])
const REGISTER = encodeWorkerFrame({ kind: 'register', sequence: 1, registration: { alias: 'dev1', operations: OPERATIONS } })
const DRAIN = encodeWorkerFrame({ kind: 'drain' })
const BEAT = encodeWorkerFrame({ kind: 'beat', running: 300 })

/** Any conversation of a worker: it is registered or refused, and when its stream is gone nothing of it is left. */
const registrations: FuzzTarget = {
  name: 'worker-registration',
  seeds: [REGISTER, Buffer.concat([REGISTER, BEAT, DRAIN]), Buffer.concat([BEAT, REGISTER, REGISTER])],
  codes: [],
  maxBytes: 4_096,
  run(input) {
    const clock = manualClock()
    const head = createHead({
      local: localWorld([]).callee,
      hasLocal: () => false,
      client: { call: () => assert.fail('nobody calls'), stream: () => assert.fail('nobody calls') },
      authorize: () => 'allowed',
      mayOffer: (_worker, target) => !target.endsWith('/bash'),
      clock,
      logger: silentLogger,
    })
    const stream = new FakeStream()
    head.accept(stream, { peer: 'did:icn:zfuzz' as Did, linkKey: 'aa' })
    stream.feed(input, Math.max(1, input.length >> 1))
    const registered = head.workers().length
    clock.advance(HEAD_LIMITS.lostMs + 1)
    assert.deepEqual(head.workers(), [])
    assert.equal(clock.pending, 0)
    return `registered ${registered}`
  },
}

const frames: FuzzTarget = {
  name: 'worker-frame',
  seeds: [
    REGISTER.subarray(4),
    BEAT.subarray(4),
    encodeHeadFrame({ kind: 'accepted', sequence: 1, beatMs: 30_000, lostMs: 90_000 }).subarray(4),
    encodeHeadFrame({ kind: 'refused', sequence: 2, number: 634, detail: 'dev1/fs' }).subarray(4),
  ],
  codes: ['WIRE_MALFORMED'],
  run(input) {
    if ((input[0] ?? 0) >= 0x80) {
      const frame = decodeHeadFrame(input)
      assert.deepEqual(Buffer.from(encodeHeadFrame(frame).subarray(4)), Buffer.from(input))
      return frame.kind
    }
    // Schemas may be written with spaces, so the bytes need not come back; the value does.
    const frame = decodeWorkerFrame(input)
    assert.deepEqual(decodeWorkerFrame(encodeWorkerFrame(frame).subarray(4)), frame)
    return frame.kind
  },
}

const { did: _did, ...SOMEBODY } = callerWith()

const statements: FuzzTarget = {
  name: 'call-statement',
  seeds: [
    encodeStatement({ ...SOMEBODY, scopes: new Set(['fs', 'bash']), resources: new Map([['bucket:photos', ['read']]]) }),
    encodeStatement({ ...SOMEBODY, via: 'ssh-certificate', principals: ['deploy'] }),
  ],
  codes: ['WIRE_MALFORMED', 'DID_INVALID'],
  run(input) {
    const caller = decodeStatement(input, callerWith('hub'))
    assert.notEqual(caller.via, 'local')
    assert.notEqual(caller.id, 'local')
    assert.equal(caller.through?.id, 'did:icn:zhub')
    return caller.via
  },
}

export const workerTargets: readonly FuzzTarget[] = [registrations, frames, statements]

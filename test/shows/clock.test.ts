import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isKithError } from '../../src/core/errors.ts'
import { quicAvailability } from '../../src/transport/quic/index.ts'
import { createNodes, shiftedClock } from './node.ts'

const HOUR_MS = 3_600_000

for (const [words, offset, note] of [
  ['ahead', HOUR_MS, /its clock is (3599|3600|3601) s ahead of ours/],
  ['behind', -HOUR_MS, /its clock is (3599|3600|3601) s behind ours/],
] as const) {
  test(`peer whose clock is an hour ${words}, dialled over tcp, is refused, and why names the difference`, { timeout: 60_000 }, async (t) => {
    const nodes = await createNodes(t)
    const right = await nodes.open('right')
    const wrong = await nodes.open('wrong', { clock: shiftedClock(offset) })
    const url = wrong.mesh.addresses[0] as string
    const { did } = wrong.mesh
    await right.mesh.book.add(did, { urls: [url] })
    await assert.rejects(
      right.mesh.dial(did, { url }),
      (error) => isKithError(error, 'PEER_UNREACHABLE') && isKithError(error.cause, 'HANDSHAKE_TIMESTAMP') && error.message.includes('clocks'),
    )
    const { path, candidates } = right.mesh.why(did)
    assert.equal(path, null)
    const candidate = candidates.find((each) => each.url === url)
    assert.equal(candidate?.result, 'HANDSHAKE_TIMESTAMP')
    assert.match(candidate?.reason ?? '', note)
  })
}

test('peer whose clock is an hour ahead, linked over quic, which has no window, is served, and why names the difference', {
  timeout: 60_000,
  skip: !quicAvailability().ok && 'no QUIC here',
}, async (t) => {
  const nodes = await createNodes(t)
  const right = await nodes.open('right', { listen: ['quic://127.0.0.1:0'] })
  const wrong = await nodes.open('wrong', { listen: ['quic://127.0.0.1:0'], clock: shiftedClock(HOUR_MS) })
  const { ticket } = await wrong.mesh.invites.create()
  await right.mesh.join(ticket)
  assert.equal((await right.mesh.ping('wrong')).length, 1)
  const { path, candidates } = right.mesh.why('wrong')
  assert.equal(path?.scheme, 'quic')
  assert.match(candidates.find(({ result }) => result === 'active')?.reason ?? '', /its clock is (3599|3600|3601) s ahead of ours/)
})

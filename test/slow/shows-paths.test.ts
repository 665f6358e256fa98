import assert from 'node:assert/strict'
import { test } from 'node:test'
import { quicAvailability } from '../../src/transport/quic/index.ts'
import { createLaboratory, noLaboratory, until } from '../shows/laboratory.ts'
import { meetAtOnce } from '../shows/meeting.ts'

const noQuic = !quicAvailability().ok && 'no QUIC here'

test('two nodes dialling each other a thousand times at once, keep one connection and lose no stream', { skip: noQuic, timeout: 600_000 }, async (t) => {
  await meetAtOnce(t, 1_000)
})

interface Why {
  readonly path: { readonly scheme: string } | null
  readonly candidates: readonly { readonly url: string; readonly result: string; readonly reason: string }[]
}

test('link over tcp, a firewall swallows that path, goes on over quic, and why names what failed', {
  skip: noQuic || (await noLaboratory('/usr/sbin/nft')),
  timeout: 240_000,
}, async (t) => {
  const laboratory = await createLaboratory(t)
  const desk = await laboratory.machine('desk')
  const laptop = await laboratory.machine('laptop')
  await desk.up()
  await laptop.up()
  const { ticket } = await desk.kith<{ ticket: string }>(['invite'])
  await laptop.kith(['join', '-'], ticket)
  const why = (): Promise<Why> => laptop.kith<Why>(['why', 'desk'])
  await until(why, ({ path }) => path?.scheme === 'tcp', 200)
  await desk.exec('nft', 'add', 'table', 'inet', 'wall')
  await desk.exec('nft', 'add', 'chain', 'inet', 'wall', 'input', '{ type filter hook input priority 0; }')
  await desk.exec('nft', 'add', 'rule', 'inet', 'wall', 'input', 'meta', 'l4proto', 'tcp', 'drop')
  const started = performance.now()
  const { candidates } = await until(why, ({ path }) => path?.scheme === 'quic', 500)
  t.diagnostic(`on quic after ${Math.round((performance.now() - started) / 1000)} s`)
  assert.equal((await laptop.kith<{ rtt_ms: number[] }>(['ping', 'desk', '-n', '2'])).rtt_ms.length, 2)
  assert.equal((await desk.kith<{ rtt_ms: number[] }>(['ping', 'laptop', '-n', '2'])).rtt_ms.length, 2)
  assert.ok(candidates.some(({ url, result }) => url.startsWith('quic:') && result === 'active'))
  const failed = await until(
    why,
    (now) => now.candidates.some(({ url, result }) => url.startsWith('tcp://') && !['ok', 'active', 'untried'].includes(result)),
    500,
  )
  assert.match(failed.candidates.find(({ url }) => url.startsWith('tcp://'))?.result ?? '', /^(TIMEOUT|ADDRESS_UNREACHABLE)$/)
})

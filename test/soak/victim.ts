/** The node under attack: as a program opens it, in a process of its own. `victim.ts HOME` */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { writeHeapSnapshot } from 'node:v8'
import { createNode } from '../../src/daemon/index.ts'
import type { Sample, Standing, ToVictim, VictimReady } from './messages.ts'
import { servePart } from './process.ts'
import { MEMBERS, NEWS, OTHERS } from './topics.ts'

const [home = ''] = process.argv.slice(2)
const node = await createNode({ home, passphrase: 'correct horse', listen: ['tcp://127.0.0.1:0'], name: 'victim' })
await node.topics.create({ name: NEWS, access: { kind: 'open' } })
await node.topics.create({ name: MEMBERS, access: { kind: 'score', min: 1_000 } })
for (const name of OTHERS) await node.topics.create({ name, access: { kind: 'open' }, maxEntries: 500 })

const delays = monitorEventLoopDelay({ resolution: 10 })
delays.enable()

function descriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0
  }
}

function sample(): Sample {
  // What merely waits for its collection is not held.
  globalThis.gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  const { topics, peers } = node.status()
  const taken: Sample = {
    rss,
    heap: heapUsed,
    external,
    descriptors: descriptors(),
    handles: process.getActiveResourcesInfo().length,
    cpu: user + system,
    loopMax: delays.max / 1e6,
    loopP99: delays.percentile(99) / 1e6,
    topics: { entries: topics.entries, bytes: topics.bytes, held: topics.held },
    peers: peers.filter(({ state }) => state === 'connected').length,
  }
  delays.reset()
  return taken
}

async function answer(question: ToVictim): Promise<unknown> {
  switch (question.do) {
    case 'befriend': {
      if (question.instead !== undefined) await node.peers.forget(question.instead).catch(() => undefined)
      await node.peers.add(question.did, { name: question.name, class: question.class })
      return undefined
    }
    case 'sample':
      return sample()
    case 'standing':
      return question.dids.map((did) => {
        const { state, reputation, violations } = node.trust.standing(did)
        return { state, reputation, violations: violations.length } satisfies Standing
      })
    case 'hello':
      return ready
  }
}

const ready: VictimReady = {
  did: node.did,
  url: node.addresses.find((url) => url.startsWith('tcp:')) ?? '',
  ticket: await node.invite({ class: 'partner', uses: 2, trustTicket: true }),
}
servePart<ToVictim>(answer, async () => {
  const folder = process.env.SOAK_SNAPSHOT
  if (folder !== undefined) writeHeapSnapshot(join(folder, `victim-${process.pid}.heapsnapshot`))
  await node.close()
})

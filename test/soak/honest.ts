/** Two peers in good standing, linked to the victim alone: what they say to it, and to each other through it. `honest.ts FOLDER` */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createNode, type Node } from '../../src/daemon/index.ts'
import type { HonestReady, HonestReport, HonestTotals, ToHonest, VictimReady } from './messages.ts'
import { servePart } from './process.ts'
import { MEMBERS, NEWS } from './topics.ts'

const PING_EVERY_MS = 200
const PUBLISH_EVERY_MS = 250
const TELL_EVERY_MS = 500
const NAMES = ['ann', 'ben'] as const

interface Report {
  readonly ping: number[]
  readonly open: number[]
  readonly members: number[]
  readonly tell: number[]
}

const [folder = ''] = process.argv.slice(2)
const nodes: Node[] = []
const nothingYet = (): Report => ({ ping: [], open: [], members: [], tell: [] })
let report = nothingYet()
const failed: Record<string, number> = {}
const downs: string[] = []
const sent = new Map<string, number>()
const got = new Set<string>()
const last = new Map<string, number>()
let [published, received, twice, disordered, told, delivered] = [0, 0, 0, 0, 0, 0]
let going = false
let victim = ''

for (const name of NAMES) {
  const node = await createNode({ home: join(folder, name), passphrase: 'correct horse', listen: ['tcp://127.0.0.1:0'], name })
  await node.topics.create({ name: NEWS, access: { kind: 'open' } })
  await node.topics.create({ name: MEMBERS, access: { kind: 'score', min: 1_000 } })
  nodes.push(node)
}
const [ann, ben] = nodes as [Node, Node]

async function pair(about: VictimReady): Promise<HonestReady> {
  victim = about.did
  for (const node of nodes) {
    await node.join(about.ticket)
    await node.peers.add(about.did, { class: 'partner' })
    node.on('link', (event) => {
      if (event.type === 'down' && event.peer === victim) downs.push(event.error?.code ?? 'closed')
    })
  }
  // They know each other, and are linked only through the victim.
  await ann.peers.add(ben.did, { name: 'ben', class: 'partner' })
  await ben.peers.add(ann.did, { name: 'ann', class: 'partner' })
  const linkKey = ann.status().peers.find(({ did }) => did === victim)?.link_key ?? ''
  return { linkKey, peers: nodes.map((node) => ({ did: node.did, linkKey: linkKeyOf(node) })) }
}

/** A machine's own link key stands in its binding, which its first entry shows. */
const linkKeys = new Map<string, string>()
function linkKeyOf(node: Node): string {
  return linkKeys.get(node.did) ?? ''
}

function readBy(reader: Node, author: Node, topic: string): void {
  void (async () => {
    for await (const entry of reader.subscribe(topic)) {
      if (entry.author !== author.did) continue
      const text = Buffer.from(entry.data).toString()
      const key = `${topic} ${text}`
      const begun = sent.get(key)
      if (begun === undefined) continue
      received++
      if (got.has(key)) twice++
      got.add(key)
      const number = Number(text.split(' ')[1])
      if (entry.gap === true || number < (last.get(`${author.did} ${topic}`) ?? 0)) disordered++
      last.set(`${author.did} ${topic}`, number)
      report[topic === NEWS ? 'open' : 'members'].push(performance.now() - begun)
      if (performance.now() - begun > 2_000) note(`slow ${topic}`, { code: entry.gap === true ? 'GAP' : 'WAITED' })
    }
  })().catch((error: unknown) => note('subscribe', error))
}

function note(what: string, error: unknown): void {
  const code = (error as { code?: unknown }).code
  const key = `${what} ${typeof code === 'string' ? code : String(error)}`
  failed[key] = (failed[key] ?? 0) + 1
}

/** Does something again and again, whether or not the last one has ended; at most ten at once. */
async function every(ms: number, what: string, run: () => Promise<void>): Promise<void> {
  let open = 0
  while (going) {
    if (open < 10) {
      open++
      run()
        .catch((error: unknown) => note(what, error))
        .finally(() => {
          open--
        })
    } else note(what, { code: 'STILL_WAITING' })
    await sleep(ms)
  }
}

async function publish(node: Node, topic: string): Promise<void> {
  const text = `${NAMES[nodes.indexOf(node)]} ${++published} ${'x'.repeat(200)}`
  sent.set(`${topic} ${text}`, performance.now())
  await node.publish(topic, text)
}

async function ping(): Promise<void> {
  const begun = performance.now()
  await ann.ping(victim, { signal: AbortSignal.timeout(20_000) })
  report.ping.push(performance.now() - begun)
}

async function tell(): Promise<void> {
  const begun = performance.now()
  told++
  const { state, id } = await ben.tell(victim, `message ${told}`, { waitMs: 20_000 })
  if (state === 'delivered') delivered++
  else note('tell', { code: state })
  if (id !== '') report.tell.push(performance.now() - begun)
}

async function settle(withinMs: number): Promise<HonestTotals> {
  going = false
  const until = performance.now() + withinMs
  while (got.size < sent.size && performance.now() < until) await sleep(250)
  return { published, received, twice, disordered, told, delivered, failed, downs }
}

async function answer(question: ToHonest): Promise<unknown> {
  switch (question.do) {
    case 'pair': {
      for (const node of nodes) {
        const { device } = await node.publish(NEWS, 'hello')
        linkKeys.set(node.did, Buffer.from(device).toString('hex'))
      }
      return await pair(question.victim)
    }
    case 'begin': {
      going = true
      for (const topic of [NEWS, MEMBERS]) {
        readBy(ben, ann, topic)
        readBy(ann, ben, topic)
      }
      void every(PING_EVERY_MS, 'ping', ping)
      void every(TELL_EVERY_MS, 'tell', tell)
      let turn = 0
      const turns = [
        [ann, NEWS],
        [ben, MEMBERS],
        [ben, NEWS],
        [ann, MEMBERS],
      ] as const
      void every(PUBLISH_EVERY_MS, 'publish', async () => {
        const [node, topic] = turns[turn++ % turns.length] as (typeof turns)[number]
        await publish(node, topic)
      })
      return undefined
    }
    case 'report': {
      const made: HonestReport = report
      report = nothingYet()
      return made
    }
    case 'settle':
      return await settle(question.withinMs)
  }
}

servePart<ToHonest>(answer, async () => {
  going = false
  await Promise.all(nodes.map((node) => node.close()))
})

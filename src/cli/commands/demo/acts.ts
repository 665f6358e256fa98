import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { isKithError } from '../../../core/errors.ts'
import type { Node } from '../../../daemon/node-types.ts'
import { bytes, duration } from '../../format.ts'
import { harmless } from '../../style.ts'

/** What one step did, and which command does the same. */
export interface DemoStep {
  readonly step: string
  /** The command a person would type. */
  readonly command: string
  readonly detail: string
}

/** Two nodes that do not know each other yet, and what steps hand on. */
export interface DemoStage {
  readonly desk: Node
  readonly laptop: Node
  readonly signal: AbortSignal
  /** For files; removed afterwards. */
  readonly folder: string
  /** `HOST:PORT` of a web server on desk that nobody but desk can reach. */
  readonly web: string
  ticket: string
}

export type DemoAct = (stage: DemoStage) => Promise<DemoStep>

const pair: DemoAct = async (stage) => {
  stage.ticket = await stage.desk.invite({ class: 'partner' })
  return {
    step: 'desk makes a one-time ticket',
    command: 'kith invite --class partner',
    detail: `${stage.ticket.slice(0, 40)}… (${stage.ticket.length} characters, usable once, for 10 minutes)`,
  }
}

const meet: DemoAct = async ({ laptop, ticket, signal }) => {
  const { name, words } = await laptop.join(ticket, { signal })
  return {
    step: 'laptop pairs with it',
    command: 'kith join -',
    detail: `both sides show the same four words to compare: ${words} (laptop calls the other one ${harmless(name)})`,
  }
}

const confirm: DemoAct = async ({ desk, laptop }) => {
  const { class: held } = await desk.confirm(laptop.did)
  return { step: 'the words match, so desk confirms', command: 'kith confirm laptop', detail: `laptop is ${held} on desk now` }
}

const look: DemoAct = async ({ laptop }) => {
  const peer = laptop.status().peers[0]
  const path = peer?.path
  return {
    step: 'laptop looks at its links',
    command: 'kith status',
    detail: `desk is ${peer?.state ?? 'away'} over ${path?.address ?? 'nothing'}, post-quantum ${peer?.pq === true ? 'yes' : 'no'}`,
  }
}

const ping: DemoAct = async ({ laptop, desk, signal }) => {
  const rtt = await laptop.ping(desk.did, { count: 3, signal })
  return { step: 'a round trip over the link', command: 'kith ping desk', detail: rtt.map((ms) => `${ms.toFixed(2)} ms`).join('  ') }
}

const refuse: DemoAct = async ({ desk, laptop, web, signal }) => {
  const refusal: unknown = await laptop.forward({ peer: desk.did, target: web, local: '127.0.0.1:0', signal }).catch((error: unknown) => error)
  if (!isKithError(refusal, 'FORWARD_DENIED')) throw refusal
  return {
    step: 'laptop wants the web server on desk; desk has not said so',
    command: `kith forward desk:${web}`,
    detail: `refused, ${refusal.code}; ${refusal.next ?? ''}`,
  }
}

const allow: DemoAct = async ({ desk, laptop, web }) => {
  await desk.policy.allow(laptop.did, 'forward', web)
  const { decision } = desk.why(laptop.did, 'forward', web)
  return { step: 'desk allows it', command: `kith allow laptop forward ${web}`, detail: `now ${decision ?? 'unknown'}, for this peer and this port only` }
}

const forward: DemoAct = async ({ desk, laptop, web, signal }) => {
  const { address } = await laptop.forward({ peer: desk.did, target: web, local: '127.0.0.1:0', signal })
  const answer = await fetch(`http://${address}/`, { signal })
  return {
    step: 'laptop opens the page as if it were its own',
    command: `kith forward desk:${web} && curl http://${address}/`,
    detail: `${answer.status} ${await answer.text()}`,
  }
}

const DEMO_FILE_BYTES = 8 * 1_048_576

const send: DemoAct = async ({ desk, laptop, folder, signal }) => {
  await desk.policy.allow(laptop.did, 'file')
  const path = join(folder, 'holiday.jpg')
  await writeFile(path, Buffer.alloc(DEMO_FILE_BYTES, 'sea and sky, '))
  const { bytes: count, durationMs, sha256 } = await laptop.send(desk.did, path, { signal })
  return {
    step: 'desk takes files from laptop, so laptop sends one',
    command: 'kith allow laptop file   (on desk)   kith send desk holiday.jpg',
    detail: `${bytes(count)} in ${duration(durationMs)}, verified on arrival, sha256 ${sha256.slice(0, 16)}…`,
  }
}

const inbox: DemoAct = async ({ desk }) => {
  const [file] = await desk.inbox()
  return { step: 'desk looks into its inbox', command: 'kith inbox', detail: file === undefined ? 'nothing' : `${harmless(file.name)}, ${bytes(file.bytes)}` }
}

/** In the order in which they are shown. */
export const ACTS: readonly DemoAct[] = [pair, meet, confirm, look, ping, refuse, allow, forward, send, inbox]

/** Something on desk worth reaching: it listens on loopback only. */
export async function openWebServer(): Promise<{ readonly target: string; close(): void }> {
  const server = createServer((_request, response) => response.end('hello from desk'))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  return { target: `localhost:${(server.address() as AddressInfo).port}`, close: () => void server.close().closeAllConnections() }
}

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode, type Node } from '../../../daemon/node.ts'
import type { CommandContext } from '../../context.ts'
import { duration } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
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

const refuse: DemoAct = async ({ desk, laptop }) => {
  const { decision, rule, next } = desk.why(laptop.did, 'forward', 'localhost:5432')
  return {
    step: 'may laptop reach a database on desk? Not unless desk says so',
    command: 'kith why laptop forward localhost:5432',
    detail: `${decision ?? 'unknown'}, by ${rule ?? 'no rule'}; the command that changes it: ${next ?? ''}`,
  }
}

const allow: DemoAct = async ({ desk, laptop }) => {
  await desk.policy.allow(laptop.did, 'forward', 'localhost:5432')
  const { decision } = desk.why(laptop.did, 'forward', 'localhost:5432')
  return { step: 'desk allows it', command: 'kith allow laptop forward localhost:5432', detail: `now ${decision ?? 'unknown'}` }
}

/** In the order in which they are shown. */
const ACTS: readonly DemoAct[] = [pair, meet, confirm, look, ping, refuse, allow]

export const run: CommandHandler = async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'kith-demo-'))
  const show = createShow(context)
  const nodes: Node[] = []
  // Without a passphrase, and what takes its place is kept in the same folder: nothing of this stays.
  const env = { ...context.env, XDG_STATE_HOME: join(folder, 'state') }
  const open = async (name: string): Promise<Node> => {
    const node = await createNode({ home: join(folder, name), listen: ['tcp://127.0.0.1:0'], name, env })
    nodes.push(node)
    return node
  }
  try {
    const [desk, laptop] = await show.time(async () => {
      const opened = await Promise.all([open('desk'), open('laptop')])
      const detail = opened.map((node) => `${node.status().name ?? ''} ${node.did}`).join('; ')
      return [{ step: 'two nodes make their identities and start', command: 'kith init && kith up --detach', detail }, opened] as const
    })
    const stage: DemoStage = { desk, laptop, signal: context.signal, ticket: '' }
    for (const act of ACTS) {
      context.signal.throwIfAborted()
      await show.time(async () => [await act(stage), undefined] as const)
    }
    context.output.note('\nBoth nodes and their homes are removed again. Your own: kith start')
  } finally {
    await Promise.allSettled(nodes.map((node) => node.close()))
    await rm(folder, { recursive: true, force: true })
  }
  return undefined
}

interface Show {
  /** Runs a step and prints it with the time it took. */
  time<T>(act: () => Promise<readonly [DemoStep, T]>): Promise<T>
}

function createShow({ output }: CommandContext): Show {
  let number = 0
  return {
    async time(act) {
      const started = performance.now()
      const [step, value] = await act()
      const durationMs = Math.round(performance.now() - started)
      number += 1
      output.result({ ...step, duration_ms: durationMs }, (palette) => [
        `${palette.strong(`${number}. ${step.step}`)}  ${palette.quiet(duration(durationMs))}`,
        `   ${palette.good(`$ ${step.command}`)}`,
        `   ${step.detail}`,
      ])
      return value
    },
  }
}

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode } from '../../../daemon/node.ts'
import type { Node } from '../../../daemon/node-types.ts'
import type { CommandContext } from '../../context.ts'
import { duration } from '../../format.ts'
import type { CommandHandler } from '../../spec.ts'
import { ACTS, type DemoStage, type DemoStep, openWebServer } from './acts.ts'

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
  const web = await openWebServer()
  try {
    const [desk, laptop] = await show.time(async () => {
      const opened = await Promise.all([open('desk'), open('laptop')])
      const detail = opened.map((node) => `${node.status().name ?? ''} ${node.did}`).join('; ')
      return [{ step: 'two nodes make their identities and start', command: 'kith init && kith up --detach', detail }, opened] as const
    })
    const stage: DemoStage = { desk, laptop, signal: context.signal, folder, web: web.target, ticket: '' }
    for (const act of ACTS) {
      context.signal.throwIfAborted()
      await show.time(async () => [await act(stage), undefined] as const)
    }
    context.output.note(`\nBoth nodes and their homes are removed again. Your own: ${context.command('kith start')}`)
  } finally {
    web.close()
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

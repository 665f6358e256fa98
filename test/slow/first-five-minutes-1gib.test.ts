import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createStage, type RunningNode, type Stage } from '../cli/support.ts'
import { sendThroughKills } from '../first-five-minutes/interrupted.ts'

const GIB = 2 ** 30
/** At 10 MB/s, which a busy machine still reaches. */
const COMMAND_MS = 120_000

let stage: Stage
before(async () => {
  stage = await createStage()
})
after(() => stage.close())

test('a file of 1 GiB, both nodes killed on the way, arrives once and whole', { timeout: 4 * COMMAND_MS }, async () => {
  const homes = { desk: stage.home('desk'), laptop: stage.home('laptop') }
  const nodes = new Map<string, RunningNode>()
  for (const [name, home] of Object.entries(homes)) {
    await stage.json(['init', '--name', name, '--home', home])
    nodes.set(name, await stage.up(home))
  }
  const { ticket } = await stage.json<{ ticket: string }>(['invite', '--home', homes.desk])
  await stage.json(['join', '-', '--home', homes.laptop], { input: ticket })
  await stage.json(['allow', 'laptop', 'file', '--home', homes.desk])
  const address = nodes.get('desk')?.ready.listen[0] ?? ''
  const machine = (name: 'desk' | 'laptop', listen: readonly string[]) => ({
    home: homes[name],
    name,
    node: () => nodes.get(name) as RunningNode,
    again: async () => void nodes.set(name, await stage.up(homes[name], listen)),
  })
  const sent = await sendThroughKills({
    stage,
    sender: machine('laptop', []),
    receiver: machine('desk', ['--listen', address]),
    file: 'disk.img',
    bytes: GIB,
    commandMs: COMMAND_MS,
  })
  assert.equal(sent.bytes, GIB)
  for (const home of Object.values(homes)) assert.equal((await stage.json(['down', '--home', home])).stopped, true)
})

import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { createNode, KithError, type Node } from '../../src/index.ts'

/** What the tests of a file share; filled before the first of them. */
export interface ThreeNodes {
  folder: string
  readonly nodes: Node[]
}

/** Three nodes for a file of tests, the first one paired with the two others, each at home in a folder of its name. `made` is called with them before the first test. */
export function threeNodes(names: readonly [string, string, string], made: (nodes: readonly Node[]) => void = () => {}): ThreeNodes {
  const three: ThreeNodes = { folder: '', nodes: [] }
  const state = process.env.XDG_STATE_HOME
  before(async () => {
    three.folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-three-')))
    process.env.XDG_STATE_HOME = join(three.folder, 'state')
    for (const name of names) three.nodes.push(await createNode({ home: join(three.folder, name), name, listen: ['tcp://127.0.0.1:0'] }))
    const [first, ...others] = three.nodes
    const ticket = await (first as Node).invite({ uses: 2 })
    for (const node of others) await node.join(ticket)
    made(three.nodes)
  })
  after(async () => {
    for (const node of three.nodes) await node.close()
    if (state === undefined) delete process.env.XDG_STATE_HOME
    else process.env.XDG_STATE_HOME = state
    await rm(three.folder, { recursive: true, force: true })
  })
  return three
}

/** Waits, ten seconds at most, for what another part of this process will do. */
export async function until(met: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(10_000)
  while (!met()) {
    limit.throwIfAborted()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (error instanceof KithError ? error.code : String(error)),
  )
}

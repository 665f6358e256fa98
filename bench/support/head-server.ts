/** The head or the worker of the rows of heads, a process of its own: prints its address and identity as one JSON line, then is told whom it knows and where it registers. */
import { createHead } from '../../src/call/head.ts'
import { callsOverLinks } from '../../src/call/head-calls.ts'
import { createCallClient, serveCalls } from '../../src/call/link.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import type { Callee } from '../../src/call/types.ts'
import { createWorkerSession, offeredOperations } from '../../src/call/worker.ts'
import { WORKER_PROTOCOL } from '../../src/call/worker-codec.ts'
import { toHex } from '../../src/core/bytes.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { callerOf, callNode, operations } from './call-ends.ts'

export interface Told {
  readonly know?: string
  readonly head?: { readonly did: string; readonly url: string }
}

const common = { clock: systemClock, random: systemRandom, logger: silentLogger }
const offered = process.argv[2] === 'worker' ? operations : []
const { mesh, url } = await callNode()
const registry = createRegistry(offered)
const authorize = (): 'allowed' => 'allowed'
const root = (): Callee => head
const head = createHead({
  ...common,
  local: createLocalCallee({ ...common, registry, authorize, root }),
  hasLocal: (name) => registry.get(name) !== undefined,
  client: callsOverLinks(createCallClient(mesh, { clock: systemClock })),
  authorize,
  mayOffer: () => true,
  onWorker: () => process.send?.('registered'),
})
mesh.handleLean(WORKER_PROTOCOL, (stream, { peer, linkKey }) => head.accept(stream, { peer, linkKey: toHex(linkKey) }))
serveCalls(mesh, head, { callerOf })
process.on('message', ({ know, head: at }: Told) => {
  void (async () => {
    if (know !== undefined) await mesh.book.add(know, { class: 'partner' })
    if (at !== undefined) {
      await mesh.book.add(at.did, { urls: [at.url], class: 'partner' })
      createWorkerSession({
        ...common,
        open: (signal) => mesh.openLean(at.did, WORKER_PROTOCOL, { signal }),
        alias: 'worker',
        operations: () => offeredOperations(offered),
      })
    }
    process.send?.('done')
  })()
})
process.on('disconnect', () => process.exit(0))
process.stdout.write(`${JSON.stringify({ did: mesh.did, url })}\n`)

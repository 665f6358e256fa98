/** The far end of the rows of calls, a process of its own: `call-server.ts [POLL_US]`. Prints its addresses and identity as one JSON line, and takes up the peer whose identity it is sent. */
import { serveCalls } from '../../src/call/link.ts'
import { createLocalCallee } from '../../src/call/local.ts'
import { createRegistry } from '../../src/call/registry.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { callerOf, callNode, operations } from './call-ends.ts'

const { mesh, url } = await callNode(Number(process.argv[2] ?? 0))
const callee = createLocalCallee({
  registry: createRegistry(operations),
  authorize: (_caller, { access }) => (access === 'everyone' ? 'allowed' : 'hidden'),
  clock: systemClock,
  random: systemRandom,
  logger: silentLogger,
})
serveCalls(mesh, callee, { callerOf })
process.on('message', (did: string) => {
  void mesh.book.add(did, { class: 'partner' }).then(() => process.send?.('known'))
})
process.on('disconnect', () => process.exit(0))
process.stdout.write(`${JSON.stringify({ did: mesh.did, url })}\n`)

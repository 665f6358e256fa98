// The far end of the js-libp2p rows, a process of its own: prints its address as one JSON line.
import { serveBulk, startNode } from './libp2p.mjs'

const node = await startNode(['/ip4/127.0.0.1/tcp/0'])
await serveBulk(node)
process.stdout.write(`${JSON.stringify({ address: node.getMultiaddrs()[0].toString() })}\n`)
process.on('disconnect', () => process.exit(0))

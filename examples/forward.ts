// A port of another machine as one of this machine's own; the other machine's owner allows it first.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createNode } from 'kith'

const web = createServer((_, response) => response.end('from behind the other node')).listen(18_080, '127.0.0.1')
await once(web, 'listening')
await using desk = await createNode({ home: `${process.argv[2]}/desk`, listen: ['tcp://127.0.0.1:0'] })
await using laptop = await createNode({ home: `${process.argv[2]}/laptop`, listen: ['tcp://127.0.0.1:0'] })
await laptop.join(await desk.invite())
await desk.policy.allow(laptop.did, 'forward', '127.0.0.1:18080')
const { address, close } = await laptop.forward({ peer: desk.did, target: '127.0.0.1:18080', local: '127.0.0.1:0' })
console.log(await (await fetch(`http://${address}/`, { headers: { connection: 'close' } })).text())
await close()
web.close()

import { createInterface } from 'node:readline'
import { systemClock } from '../../src/core/clock.ts'
import { parsePublicKey } from '../../src/core/crypto/ed25519.ts'
import { silentLogger } from '../../src/core/observe/log.ts'
import { systemRandom } from '../../src/core/random.ts'
import { didPublicKey, parseDid } from '../../src/identity/did.ts'
import { createMdns } from '../../src/mesh/mdns/index.ts'

/** A node in a namespace of its own: prints what it finds, one object a line, and stops when its input ends. */
const [did, address] = process.argv.slice(2) as [string, string]
const mdns = createMdns({ clock: systemClock, random: systemRandom, logger: silentLogger, home: true })
mdns.onPeer = ({ did: found, urls, name, gone }) => process.stdout.write(`${JSON.stringify({ did: found, urls, name, gone })}\n`)
const key = parsePublicKey(didPublicKey(parseDid(did)))
await mdns.start({ did: parseDid(did), linkKey: key, urls: [`quic://${address}:4433`], name: 'laboratory' })
for await (const _line of createInterface({ input: process.stdin })) break
await mdns.stop()

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import { type AddressInfo, Server as NetServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { systemRandom } from '../../src/core/random.ts'
import { createNode } from '../../src/index.ts'
import { parseIdentifier } from '../../src/site/acme/identifiers.ts'
import { keyPem, makeKey, makeSelfSigned } from '../../src/site/acme/x509.ts'
import { within } from '../transport/support.ts'
import { until } from '../tunnel/pair.ts'

/** A peer that may reach many ports of this machine, while a certificate authority is asked. */

/** An authority that asks for an answer at port 80 and is never content. */
async function patientAuthority(t: TestContext, folder: string): Promise<{ readonly url: string; readonly asked: Promise<void> }> {
  const key = makeKey()
  const names = ['127.0.0.1'].map(parseIdentifier)
  const cert = makeSelfSigned({ identifiers: names, key, notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000, random: systemRandom })
  await writeFile(join(folder, 'ca.pem'), cert)
  let challenged: () => void
  const asked = new Promise<void>((resolve) => {
    challenged = resolve
  })
  const server: Server = createServer({ key: keyPem(key), cert }, (request, response) => {
    const at = (path: string): string => `https://${request.headers.host}/${path}`
    const answers: Record<string, object> = {
      directory: { newNonce: at('nonce'), newAccount: at('account'), newOrder: at('order') },
      order: { status: 'pending', authorizations: [at('authz')], finalize: at('finalize') },
      authz: {
        status: 'pending',
        identifier: { type: 'dns', value: 'node.example.test' },
        challenges: [{ type: 'http-01', url: at('challenge'), token: 'tok' }],
      },
    }
    const path = (request.url ?? '').slice(1)
    request.resume().on('end', () => {
      if (path === 'challenge') challenged()
      response.writeHead(path === 'order' || path === 'account' ? 201 : 200, { 'Replay-Nonce': 'n', Location: at(`${path}/1`) })
      response.end(JSON.stringify(answers[path] ?? {}))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/directory`, asked }
}

test('a peer allowed all ports of loopback, does not reach the port at which an authority’s questions are answered', { timeout: 60_000 }, async (t) => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-attack-challenge-')))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const env = { XDG_STATE_HOME: join(folder, 'state') }
  const authority = await patientAuthority(t, folder)
  await mkdir(join(folder, 'far'), { mode: 0o700 })
  const config = `[acme]
names = ["node.example.test"]
agree = true
contact = "owner@example.test"
challenge = "http-01"
http_listen = "127.0.0.1:0"
directory = "${authority.url}"
ca_file = "${join(folder, 'ca.pem')}"
account_key = "file"
`
  await writeFile(join(folder, 'far', 'config.toml'), config, { mode: 0o600 })
  await using near = await createNode({ home: join(folder, 'near'), listen: ['tcp://127.0.0.1:0'], env })
  const servers: NetServer[] = []
  const { listen } = NetServer.prototype
  t.mock.method(NetServer.prototype, 'listen', function noted(this: NetServer, ...args: Parameters<typeof listen>) {
    servers.push(this)
    return listen.apply(this, args)
  })
  const ports = (): readonly number[] =>
    servers.flatMap((server) => (server instanceof HttpServer ? ((server.address() as AddressInfo | null)?.port ?? []) : []))
  await using far = await createNode({ home: join(folder, 'far'), listen: ['tcp://127.0.0.1:0'], env })
  await within('the challenge', authority.asked)
  const [port, ...others] = ports()
  assert.ok(port !== undefined && others.length === 0, `${port} ${others.join(' ')}`)
  await near.join(await far.invite())
  await far.policy.allow(near.did, 'forward', '127.0.0.1:*')
  assert.equal(far.why(near.did, 'forward', `127.0.0.1:${port}`).decision, 'denied')
  await far.close()
  await until(() => ports().length === 0)
})

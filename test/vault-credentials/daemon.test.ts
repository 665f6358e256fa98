import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createControlClient } from '../../src/daemon/control/client.ts'
import { openRuntime, type Runtime } from '../../src/daemon/runtime.ts'
import { inject } from '../../src/vault/credentials/inject.ts'
import { type Credential, mapSecrets } from '../../src/vault/credentials/types.ts'
import { reveal, secret } from './make.ts'

let folder = ''
let home = ''
let runtime: Runtime
let server: Server
let origin = ''
let refreshes = 0
const reached: (string | undefined)[] = []

before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'kith-credentials-')))
  home = join(folder, 'home')
  server = createServer((incoming, response) => {
    incoming.resume()
    if (incoming.url === '/token') {
      refreshes++
      response.end(JSON.stringify({ access_token: `access-${refreshes}`, refresh_token: `refresh-${refreshes}`, token_type: 'bearer', expires_in: 3600 }))
    } else {
      reached.push(incoming.headers.authorization)
      response.end()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await writeFile(join(folder, 'token'), 'from-a-file\n', { mode: 0o600 })
  runtime = await openRuntime({
    home,
    env: { XDG_STATE_HOME: join(folder, 'state'), KITH_DISCOVERY_MDNS: 'false' },
    flags: { listen: ['tcp://127.0.0.1:0'] },
    create: { name: 'node' },
  })
})
after(async () => {
  await runtime.close()
  server.closeAllConnections()
  server.close()
  await rm(folder, { recursive: true, force: true })
})

async function send(service: string): Promise<void> {
  const url = new URL('/api', origin)
  using lease = await runtime.credentials.lease(service)
  const headers = lease.use((credential: Credential) => inject({ url, headers: { authorization: 'Bearer of-the-caller' } }, credential, lease.info))
  const sent = request(url, { headers: headers as Record<string, string>, agent: false })
  sent.end()
  const [answer] = await once(sent, 'response')
  answer.resume()
  await once(answer, 'end')
}

test('running node keeps a credential only with its vault open, renews it, gives it to an HTTP call and loses it with the lock', {
  timeout: 60_000,
}, async () => {
  const client = createControlClient({ home })
  const add = async (service: string, given: object, text: string): Promise<unknown> => {
    const value = secret(text)
    try {
      return await client.callWithSecret('POST /v1/credentials/add', { service, ...given } as never, value)
    } finally {
      value.wipe()
    }
  }
  await assert.rejects(add('api', { type: 'bearer' }, 'tok'), { code: 'VAULT_LOCKED' })
  await client.callWithSecret('POST /v1/vault/unlock', {}, undefined)
  await add('api', { type: 'bearer', origins: origin }, 'very-secret-token')
  await send('api')
  assert.equal(reached.at(-1), 'Bearer very-secret-token')

  const oidc = { type: 'oidc', token_endpoint: `${origin}/token`, client_id: 'kith', origins: origin }
  await add('issuer', oidc, '\nvery-secret-refresh')
  await Promise.all([send('issuer'), send('issuer'), send('issuer')])
  assert.equal(refreshes, 1)
  assert.equal(reached.at(-1), 'Bearer access-1')
  assert.match(runtime.metrics.render(), /kith_credential_refreshes_total\{result="ok"\} 1/)

  const held = await runtime.credentials.lease('api')
  await client.call('POST /v1/vault/lock', {})
  assert.throws(() => held.use(() => {}), { code: 'VAULT_LOCKED' })
  await assert.rejects(send('api'), { code: 'VAULT_LOCKED' })
  const { credentials } = await client.call('GET /v1/credentials', {})
  assert.deepEqual(
    credentials.map(({ service, type, revision, renews }) => [service, type, revision, renews]),
    [
      ['api', 'bearer', 1, false],
      ['issuer', 'oidc', 2, true],
    ],
  )
  assert.ok(!JSON.stringify(credentials).includes('secret'))

  await client.callWithSecret('POST /v1/vault/unlock', {}, undefined)
  await send('issuer')
  assert.equal(refreshes, 1)
  await client.call('POST /v1/credentials/remove', { service: 'api' })
  await assert.rejects(send('api'), { code: 'CREDENTIAL_UNKNOWN' })
  const rows = await runtime.assembly.audit.list()
  const acts = rows.filter(({ action }) => action.startsWith('credential.')).map(({ action, subject }) => `${action} ${subject}`)
  assert.deepEqual(acts, ['credential.remove api', 'credential.add issuer', 'credential.add api'])
})

test('credential of a configuration that is reloaded is there at once, from its file', { timeout: 60_000 }, async () => {
  await writeFile(join(home, 'config.toml'), `[credentials.filed]\ntype = "bearer"\nsecret_file = ${JSON.stringify(join(folder, 'token'))}\n`)
  const client = createControlClient({ home })
  assert.deepEqual((await client.call('POST /v1/config/reload', {})).applied, ['credentials'])
  await client.call('POST /v1/vault/lock', {})
  using lease = await runtime.credentials.lease('filed')
  assert.deepEqual(
    lease.use((credential) => mapSecrets(credential, reveal)),
    { type: 'bearer', token: 'from-a-file' },
  )
  await writeFile(join(home, 'config.toml'), '[credentials.filed]\ntype = "bearer"\ntoken = "hunter2"\n')
  await assert.rejects(client.call('POST /v1/config/reload', {}), { code: 'CONFIG_INVALID' })
})

test('secret of a credential is in no file of the home', { timeout: 60_000 }, async () => {
  runtime.logger.info('everything so far was written')
  const names = ['kith.db', 'kith.db-wal', join('log', 'kith.log')]
  for (const name of names) {
    const bytes = await readFile(join(home, name)).catch(() => Buffer.alloc(0))
    for (const text of ['very-secret', 'access-1', 'refresh-1', 'hunter2']) assert.ok(!bytes.includes(text), `${text} in ${name}`)
  }
})

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import tls from 'node:tls'
import { systemClock } from '../../src/core/clock.ts'
import { tokenEndpoint } from '../../src/daemon/credentials/token-endpoint.ts'
import { temporaryDirectory } from '../identity/temp.ts'
import { oidc, reveal } from './make.ts'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

test('token endpoint over TLS is asked only when its certificate is one that this machine trusts', { skip: !hasOpenssl && 'needs openssl' }, async (t) => {
  const base = temporaryDirectory(t)
  const [keyFile, certFile] = [join(base, 'key'), join(base, 'cert')]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
  const made = spawnSync('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    keyFile,
    '-out',
    certFile,
    ...subject,
  ])
  assert.equal(made.status, 0, String(made.stderr))
  const cert = readFileSync(certFile, 'utf8')
  let asked = 0
  const server = createServer({ key: readFileSync(keyFile), cert }, (request, response) => {
    asked++
    request.resume().on('end', () => response.end('{"access_token":"over-tls"}'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const trusted = tls.getCACertificates('default')
  t.after(() => {
    tls.setDefaultCACertificates(trusted)
    server.closeAllConnections()
    server.close()
  })
  const given = oidc()
  const token = {
    ...given,
    client: { tokenEndpoint: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`, clientId: 'kith', clientSecret: undefined },
  }
  const ask = tokenEndpoint(systemClock)
  await assert.rejects(ask(token, { signal: new AbortController().signal }), { code: 'CREDENTIAL_REFRESH_FAILED' })
  assert.equal(asked, 0)
  tls.setDefaultCACertificates([cert])
  assert.equal(reveal((await ask(token, { signal: new AbortController().signal })).accessToken), 'over-tls')
})
